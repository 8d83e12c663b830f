// SPDX-License-Identifier: Apache-2.0

// What a tensor's entries are before the first step (message Initializer). initial_weights.h draws
// them.

#ifndef PERCENTDELTA_COMMON_JOB_INITIALIZER_SPEC_H_
#define PERCENTDELTA_COMMON_JOB_INITIALIZER_SPEC_H_

#include <cstdint>
#include <string>
#include <variant>

namespace percentdelta {

struct ConstantInitializer {
  static constexpr char kName[] = "constant";
  double value = 0;
};

struct TruncatedNormalInitializer {
  static constexpr char kName[] = "truncated_normal";
  double stddev = 0;  // > 0; redrawn beyond two standard deviations
};

// In [low, high).
struct UniformInitializer {
  static constexpr char kName[] = "uniform";
  double low = 0;
  double high = 0;  // > low, in single precision
};

struct NormalInitializer {
  static constexpr char kName[] = "normal";
  double mean = 0;
  double stddev = 0;  // > 0
};

// The order of a shape's dimensions. The numbers are the message's.
enum class Layout : int {
  kUnspecified = 0,  // not valid
  kInOut = 1,        // [kernel..., inputs, outputs]
  kOutIn = 2,        // [outputs, inputs, kernel...]
};

// Mean 0, and a standard deviation by the tensor's shape, times `gain`.
struct ScaledInitializer {
  enum class Kind { kGlorotUniform, kGlorotNormal, kHeUniform, kHeNormal };
  Kind kind = Kind::kGlorotUniform;
  Layout layout = Layout::kUnspecified;
  double gain = 1;  // > 0
};

// In Job::initial_weights.
struct FileInitializer {};

using Initializer =
    std::variant<ConstantInitializer, TruncatedNormalInitializer, UniformInitializer,
                 NormalInitializer, ScaledInitializer, FileInitializer>;

// The name of the message's field: "glorot_uniform". Empty for FileInitializer.
std::string InitializerName(const Initializer& initializer);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_INITIALIZER_SPEC_H_

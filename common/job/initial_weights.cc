// SPDX-License-Identifier: Apache-2.0

#include "common/job/initial_weights.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <variant>

#include "common/base/portable_math.h"
#include "common/base/random.h"

namespace percentdelta {
namespace {

// In standard deviations.
constexpr double kTruncation = 2;

double DrawTruncatedNormal(RandomStream& random) {
  while (true) {
    const double x = kTruncation * (2 * random.Uniform() - 1);
    if (random.Uniform() < PortableExp(-0.5 * x * x)) return x;
  }
}

double DrawNormal(RandomStream& random) {
  while (true) {
    const double x = 2 * random.Uniform() - 1;
    const double y = 2 * random.Uniform() - 1;
    const double s = x * x + y * y;
    if (s > 0 && s < 1) return x * std::sqrt(-2 * PortableLog(s) / s);
  }
}

float DrawUniform(float low, float high, RandomStream& random) {
  const double width = static_cast<double>(high) - low;
  while (true) {
    const auto value = static_cast<float>(low + width * random.Uniform());
    if (value < high) return value;
  }
}

// Fills `values` by the rules of the header. Entries are streams of `seed`, the first is `begin`.
class Draw {
 public:
  Draw(const TensorSpec& tensor, uint64_t seed, int64_t begin, absl::Span<float> values)
      : tensor_(tensor),
        seed_(Hash64(seed, HashString(tensor.name))),
        begin_(static_cast<uint64_t>(begin)),
        values_(values) {}

  void operator()(const ConstantInitializer& constant) const {
    std::fill(values_.begin(), values_.end(), static_cast<float>(constant.value));
  }
  void operator()(const TruncatedNormalInitializer& normal) const {
    ForEach([&](RandomStream& random) {
      return static_cast<float>(normal.stddev * DrawTruncatedNormal(random));
    });
  }
  void operator()(const UniformInitializer& uniform) const {
    const auto low = static_cast<float>(uniform.low);
    const auto high = static_cast<float>(uniform.high);
    ForEach([&](RandomStream& random) { return DrawUniform(low, high, random); });
  }
  void operator()(const NormalInitializer& normal) const {
    ForEach([&](RandomStream& random) {
      return static_cast<float>(normal.mean + normal.stddev * DrawNormal(random));
    });
  }
  void operator()(const ScaledInitializer& scaled) const {
    const double stddev = ScaledStddev(scaled, tensor_.shape);
    if (scaled.kind == ScaledInitializer::Kind::kGlorotNormal ||
        scaled.kind == ScaledInitializer::Kind::kHeNormal) {
      return (*this)(NormalInitializer{0, stddev});
    }
    const double limit = std::sqrt(3.0) * stddev;
    (*this)(UniformInitializer{-limit, limit});
  }
  void operator()(const FileInitializer& /*file*/) const {
    assert(false && "the tensor is in a file: see initial_weights_file.h");
  }

 private:
  template <typename DrawEntry>
  void ForEach(DrawEntry draw) const {
    for (size_t i = 0; i < values_.size(); ++i) {
      RandomStream random(seed_, begin_ + i);
      values_[i] = draw(random);
    }
  }

  const TensorSpec& tensor_;
  const uint64_t seed_;
  const uint64_t begin_;
  const absl::Span<float> values_;
};

}  // namespace

void DrawInitialWeights(const TensorSpec& tensor, uint64_t seed, int64_t begin,
                        absl::Span<float> values) {
  std::visit(Draw(tensor, seed, begin, values), tensor.initializer);
}

Fans FansOf(const std::vector<int64_t>& shape, Layout layout) {
  assert(shape.size() >= 2 && layout != Layout::kUnspecified);
  const bool in_out = layout == Layout::kInOut;
  const size_t inputs = in_out ? shape.size() - 2 : 1;
  const size_t outputs = in_out ? shape.size() - 1 : 0;
  double kernel = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != inputs && i != outputs) kernel *= static_cast<double>(shape[i]);
  }
  return {kernel * static_cast<double>(shape[inputs]),
          kernel * static_cast<double>(shape[outputs])};
}

double ScaledStddev(const ScaledInitializer& initializer, const std::vector<int64_t>& shape) {
  const Fans fans = FansOf(shape, initializer.layout);
  const bool he = initializer.kind == ScaledInitializer::Kind::kHeUniform ||
                  initializer.kind == ScaledInitializer::Kind::kHeNormal;
  return initializer.gain * std::sqrt(2 / (he ? fans.inputs : fans.inputs + fans.outputs));
}

}  // namespace percentdelta

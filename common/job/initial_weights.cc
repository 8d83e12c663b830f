// SPDX-License-Identifier: Apache-2.0

#include "common/job/initial_weights.h"

#include <algorithm>
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

}  // namespace

void DrawInitialWeights(const TensorSpec& tensor, uint64_t seed, int64_t begin,
                        absl::Span<float> values) {
  if (const auto* constant = std::get_if<ConstantInitializer>(&tensor.initializer)) {
    std::fill(values.begin(), values.end(), static_cast<float>(constant->value));
    return;
  }
  const double stddev = std::get<TruncatedNormalInitializer>(tensor.initializer).stddev;
  const uint64_t tensor_seed = Hash64(seed, HashString(tensor.name));
  for (size_t i = 0; i < values.size(); ++i) {
    RandomStream random(tensor_seed, static_cast<uint64_t>(begin) + i);
    values[i] = static_cast<float>(stddev * DrawTruncatedNormal(random));
  }
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/shard/slot_sum.h"

#include <algorithm>
#include <cstddef>

namespace percentdelta {

void AddSlots(const std::vector<Buffer>& gradients, bool first, int64_t begin,
              absl::Span<double> sum) {
  if (first) std::fill(sum.begin(), sum.end(), 0.0);
  for (const Buffer& gradient : gradients) {
    const float* values = gradient->data() + begin;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
}

void Divide(absl::Span<const double> sum, int32_t slots, absl::Span<float> mean) {
  const auto count = static_cast<double>(slots);
  for (size_t i = 0; i < sum.size(); ++i) mean[i] = static_cast<float>(sum[i] / count);
}

}  // namespace percentdelta

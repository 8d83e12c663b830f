// SPDX-License-Identifier: Apache-2.0

#include "worker/data/batches.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/base/random.h"

namespace percentdelta {

std::vector<int64_t> EpochOrder(uint64_t seed, int64_t epoch, int64_t examples) {
  std::vector<int64_t> order(examples);
  std::iota(order.begin(), order.end(), int64_t{0});
  RandomStream random(seed, Hash64(HashString("epoch order"), static_cast<uint64_t>(epoch)));
  for (int64_t i = examples - 1; i >= 1; --i) {
    const auto other = static_cast<int64_t>(random.Below(static_cast<uint64_t>(i) + 1));
    std::swap(order[i], order[other]);
  }
  return order;
}

uint64_t GradientKey(uint64_t seed, int64_t step, int32_t slot) {
  return Hash64(seed, Hash64(HashString("gradient"),
                             Hash64(static_cast<uint64_t>(step), static_cast<uint64_t>(slot))));
}

BatchSource::BatchSource(uint64_t seed, int64_t examples) : seed_(seed), examples_(examples) {}

absl::Span<const int64_t> BatchSource::Examples(int64_t epoch, int64_t batch_index,
                                                int64_t batch_size) {
  if (epoch < 0 || batch_index < 0) return {};
  if (epoch != epoch_) {
    order_ = EpochOrder(seed_, epoch, examples_);
    epoch_ = epoch;
  }
  // Compare by division: the product of two numbers from a message might overflow.
  if (batch_index > examples_ / batch_size) return {};
  const int64_t begin = batch_index * batch_size;
  return absl::MakeConstSpan(order_).subspan(begin, std::min(batch_size, examples_ - begin));
}

}  // namespace percentdelta

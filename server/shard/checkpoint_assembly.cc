// SPDX-License-Identifier: Apache-2.0

#include "server/shard/checkpoint_assembly.h"

#include <algorithm>
#include <utility>

namespace percentdelta {

std::optional<ShardContent> CheckpointAssembly::Add(int64_t step, SliceContent content,
                                                    size_t slices) {
  ShardContent whole;
  {
    absl::MutexLock lock(&mutex_);
    ShardContent& part = incomplete_[step];
    part.slices.push_back(std::move(content));
    if (part.slices.size() < slices) return std::nullopt;
    whole = std::move(part);
    incomplete_.erase(step);
  }
  std::sort(
      whole.slices.begin(), whole.slices.end(),
      [](const SliceContent& a, const SliceContent& b) { return a.range.tensor < b.range.tensor; });
  whole.generation = generation_;
  whole.step = step;
  return whole;
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/job/partition.h"

#include <algorithm>

namespace percentdelta {

Partition::Partition(const ModelSpec& model, int shards)
    : by_shard_(shards), by_tensor_(model.tensors.size()) {
  const int64_t total = model.size();
  int shard = 0;
  int64_t assigned = 0;
  for (int tensor = 0; tensor < static_cast<int>(model.tensors.size()); ++tensor) {
    const int64_t size = model.tensors[tensor].size();
    for (int64_t begin = 0; begin < size; begin += kBlockEntries) {
      // Shard s is full once s + 1 equal shares of the total have been assigned.
      while (shard + 1 < shards && assigned * shards >= total * (shard + 1)) ++shard;
      const int64_t end = std::min(begin + kBlockEntries, size);
      std::vector<TensorRange>& ranges = by_tensor_[tensor];
      if (!ranges.empty() && ranges.back().shard == shard) {
        ranges.back().end = end;
      } else {
        ranges.push_back({tensor, shard, begin, end});
      }
      assigned += end - begin;
    }
  }
  for (const std::vector<TensorRange>& ranges : by_tensor_) {
    for (const TensorRange& range : ranges) by_shard_[range.shard].push_back(range);
  }
}

int64_t Partition::load(int shard) const {
  int64_t entries = 0;
  for (const TensorRange& range : by_shard_[shard]) entries += range.size();
  return entries;
}

}  // namespace percentdelta

#include "common/job/partition.h"

#include <algorithm>

namespace percentdelta {

Partition::Partition(const ModelSpec& model, int shards)
    : by_shard_(shards), by_tensor_(model.tensors.size()) {
  const int64_t total = model.size();
  int shard = 0;
  int64_t dealt = 0;
  for (int tensor = 0; tensor < static_cast<int>(model.tensors.size()); ++tensor) {
    const int64_t size = model.tensors[tensor].size();
    for (int64_t begin = 0; begin < size; begin += kBlockEntries) {
      // Shard s is full once s + 1 equal shares of the total have been dealt.
      while (shard + 1 < shards && dealt * shards >= total * (shard + 1)) ++shard;
      const int64_t end = std::min(begin + kBlockEntries, size);
      std::vector<TensorRange>& slices = by_tensor_[tensor];
      if (!slices.empty() && slices.back().shard == shard) {
        slices.back().end = end;
      } else {
        slices.push_back({tensor, shard, begin, end});
      }
      dealt += end - begin;
    }
  }
  for (const std::vector<TensorRange>& slices : by_tensor_) {
    for (const TensorRange& slice : slices) by_shard_[slice.shard].push_back(slice);
  }
}

int64_t Partition::load(int shard) const {
  int64_t entries = 0;
  for (const TensorRange& slice : by_shard_[shard]) entries += slice.size();
  return entries;
}

}  // namespace percentdelta

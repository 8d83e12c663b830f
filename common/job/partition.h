// SPDX-License-Identifier: Apache-2.0

// Which shard owns which entries of which tensor. Depends only on the model and the number of
// shards: every process of the project computes it. Clients in other languages receive it with the
// job (GetJobResponse).
//
// The tensors, cut into blocks of 16384 entries, are concatenated in the job's order and assigned
// to the shards in equal stretches. A shard owns at most one block more than the mean, a tensor
// smaller than a block is never split, and a shard owns at most one range of a tensor.

#ifndef PERCENTDELTA_COMMON_JOB_PARTITION_H_
#define PERCENTDELTA_COMMON_JOB_PARTITION_H_

#include <cstdint>
#include <vector>

#include "common/job/job.h"

namespace percentdelta {

// Ranges begin at multiples of it, and norms are summed block by block.
inline constexpr int64_t kBlockEntries = 16384;

// Values in one message: usually (1 MiB) and at most (4 MiB). Messages about values in shared
// memory use the maximum, so that there are fewer of them.
inline constexpr int64_t kChunkEntries = 16 * kBlockEntries;
inline constexpr int64_t kMaxChunkEntries = 4 * kChunkEntries;

// Number of blocks that cover `entries`.
constexpr int64_t BlockCount(int64_t entries) {
  return (entries + kBlockEntries - 1) / kBlockEntries;
}

// The entries [begin, end) of a flattened tensor, on one shard.
struct TensorRange {
  int tensor = 0;  // index in the job's model
  int shard = 0;
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  int64_t first_block() const { return begin / kBlockEntries; }
  int64_t blocks() const { return BlockCount(size()); }
};

// Immutable after construction.
class Partition {
 public:
  // `shards` >= 1. If there are more shards than blocks, some shards own nothing.
  Partition(const ModelSpec& model, int shards);

  int shards() const { return static_cast<int>(by_shard_.size()); }

  // In the job's order.
  const std::vector<TensorRange>& ranges_of_shard(int shard) const { return by_shard_[shard]; }

  // In ascending order; together they are the whole tensor.
  const std::vector<TensorRange>& ranges_of_tensor(int tensor) const { return by_tensor_[tensor]; }

  // The shard that adds up the tensor's norms: the owner of its first range.
  int home(int tensor) const { return by_tensor_[tensor].front().shard; }

  // Number of entries on a shard.
  int64_t load(int shard) const;

 private:
  std::vector<std::vector<TensorRange>> by_shard_;
  std::vector<std::vector<TensorRange>> by_tensor_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_PARTITION_H_

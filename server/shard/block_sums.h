// SPDX-License-Identifier: Apache-2.0

// Sums over the blocks of a split tensor, from its slices to its home: the shard that adds those of
// all slices in block order, so that the result does not depend on the split.

#ifndef PERCENTDELTA_SERVER_SHARD_BLOCK_SUMS_H_
#define PERCENTDELTA_SERVER_SHARD_BLOCK_SUMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/update/norms.h"

namespace percentdelta {

// The sums of one slice's blocks, in block order.
template <typename Sum>
struct SliceSums {
  int tensor = 0;
  int64_t step = 0;
  int64_t first_block = 0;
  std::vector<Sum> blocks;
};

using BlockSums = SliceSums<NormSums>;       // norms of gradient and weights (phase 1)
using ProposedSums = SliceSums<DeltaNorms>;  // norms of the proposed delta
using DeltaSums = SliceSums<double>;         // |delta| of a step that is done

// Checks, at shard `shard`, the sums of a slice of a tensor of `model`.
//   kFailedPrecondition  another shard is the tensor's home; the tensor is a buffer
//   kInvalidArgument     not the blocks of a slice; negative sums
// Diverging training produces infinite or NaN sums. They are accepted: the workers will report a
// non-finite loss, which is a clearer error.
template <typename Sum>
absl::Status CheckSliceSums(const ModelSpec& model, const Partition& partition, int shard,
                            const SliceSums<Sum>& sums);

// The sums of one tensor and step, slice by slice. Not thread-safe.
template <typename Sum>
class SumsInBlockOrder {
 public:
  // Adds a slice's sums, in any order; those of a slice that has been added change nothing.
  void Add(const SliceSums<Sum>& sums) { parts_.emplace(sums.first_block, sums.blocks); }

  // How many slices have been added.
  size_t slices() const { return parts_.size(); }

  // Adds all blocks in block order, across slices.
  Sum Total() const {
    Sum total{};
    for (const auto& [first_block, blocks] : parts_) {
      for (const Sum& block : blocks) total += block;
    }
    return total;
  }

  void Clear() { parts_.clear(); }

 private:
  std::map<int64_t, std::vector<Sum>> parts_;  // by first block
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_BLOCK_SUMS_H_

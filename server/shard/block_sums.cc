// SPDX-License-Identifier: Apache-2.0

#include "server/shard/block_sums.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

// The first negative number of a block's sums, or 0. NaN is not negative.
double FindNegative(std::initializer_list<double> values) {
  for (const double value : values) {
    if (value < 0) return value;
  }
  return 0;
}

double FindNegative(const NormSums& sums) {
  return FindNegative({sums.ratio_l1, sums.gradient_l1, sums.weight_l1, sums.gradient_l2_squared,
                       sums.weight_l2_squared});
}
double FindNegative(const DeltaNorms& sums) { return FindNegative({sums.l1, sums.l2_squared}); }
double FindNegative(double sum) { return FindNegative({sum}); }

}  // namespace

template <typename Sum>
absl::Status CheckSliceSums(const ModelSpec& model, const Partition& partition, int shard,
                            const SliceSums<Sum>& sums) {
  const std::string& name = model.tensors[sums.tensor].name;
  if (model.tensors[sums.tensor].buffer) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tensor ", name, ": expected no sums of a buffer, which is not trained, got some"));
  }
  const int home = partition.home(sums.tensor);
  if (home != shard) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tensor ", name, ": expected at its home, shard ", home, ", got at shard ", shard));
  }
  const std::vector<TensorRange>& slices = partition.ranges_of_tensor(sums.tensor);
  const bool is_slice = std::any_of(slices.begin(), slices.end(), [&](const TensorRange& slice) {
    return slice.first_block() == sums.first_block &&
           slice.blocks() == static_cast<int64_t>(sums.blocks.size());
  });
  if (!is_slice) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, ": expected the block sums of a slice, got ",
                     sums.blocks.size(), " blocks from block ", sums.first_block));
  }
  for (size_t i = 0; i < sums.blocks.size(); ++i) {
    const double negative = FindNegative(sums.blocks[i]);
    if (negative == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, ": expected sums that are not negative, got ", negative,
                     " for block ", sums.first_block + static_cast<int64_t>(i)));
  }
  return absl::OkStatus();
}

template absl::Status CheckSliceSums(const ModelSpec&, const Partition&, int, const BlockSums&);
template absl::Status CheckSliceSums(const ModelSpec&, const Partition&, int, const ProposedSums&);
template absl::Status CheckSliceSums(const ModelSpec&, const Partition&, int, const DeltaSums&);

}  // namespace percentdelta

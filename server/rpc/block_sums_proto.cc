// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/block_sums_proto.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

// All but the blocks.
template <typename Sum>
absl::StatusOr<SliceSums<Sum>> HeadFromProto(const ModelSpec& model,
                                             const v1::ReduceNormsRequest& proto) {
  SliceSums<Sum> sums{model.Find(proto.tensor()), proto.step(), proto.first_block(), {}};
  if (sums.tensor >= 0) return sums;
  return absl::NotFoundError(
      absl::StrCat("tensor ", QuoteForLog(proto.tensor()), ": expected one of the job, got none"));
}

template <typename Sum>
void HeadToProto(const ModelSpec& model, const SliceSums<Sum>& sums,
                 v1::ReduceNormsRequest& proto) {
  proto.set_step(sums.step);
  proto.set_tensor(model.tensors[sums.tensor].name);
  proto.set_first_block(sums.first_block);
}

}  // namespace

NormSums FromProto(const v1::NormSums& proto) {
  return {proto.ratio_l1(), proto.gradient_l1(), proto.weight_l1(), proto.gradient_l2_squared(),
          proto.weight_l2_squared()};
}

DeltaNorms FromProto(const v1::DeltaNorms& proto) { return {proto.l1(), proto.l2_squared()}; }

void ToProto(const NormSums& sums, v1::NormSums& proto) {
  proto.set_ratio_l1(sums.ratio_l1);
  proto.set_gradient_l1(sums.gradient_l1);
  proto.set_weight_l1(sums.weight_l1);
  proto.set_gradient_l2_squared(sums.gradient_l2_squared);
  proto.set_weight_l2_squared(sums.weight_l2_squared);
}

void ToProto(const DeltaNorms& norms, v1::DeltaNorms& proto) {
  proto.set_l1(norms.l1);
  proto.set_l2_squared(norms.l2_squared);
}

void ToProto(const ModelSpec& model, const BlockSums& sums, v1::ReduceNormsRequest& proto) {
  HeadToProto(model, sums, proto);
  for (const NormSums& block : sums.blocks) ToProto(block, *proto.add_blocks());
}

void ToProto(const ModelSpec& model, const ProposedSums& sums, v1::ReduceNormsRequest& proto) {
  HeadToProto(model, sums, proto);
  for (const DeltaNorms& block : sums.blocks) ToProto(block, *proto.add_proposed());
}

void ToProto(const ModelSpec& model, const DeltaSums& sums, v1::ReduceNormsRequest& proto) {
  HeadToProto(model, sums, proto);
  proto.mutable_deltas()->Assign(sums.blocks.begin(), sums.blocks.end());
}

absl::StatusOr<BlockSums> NormsFromProto(const ModelSpec& model,
                                         const v1::ReduceNormsRequest& proto) {
  ASSIGN_OR_RETURN(BlockSums sums, HeadFromProto<NormSums>(model, proto));
  for (const v1::NormSums& block : proto.blocks()) sums.blocks.push_back(FromProto(block));
  return sums;
}

absl::StatusOr<ProposedSums> ProposedFromProto(const ModelSpec& model,
                                               const v1::ReduceNormsRequest& proto) {
  ASSIGN_OR_RETURN(ProposedSums sums, HeadFromProto<DeltaNorms>(model, proto));
  for (const v1::DeltaNorms& block : proto.proposed()) sums.blocks.push_back(FromProto(block));
  return sums;
}

absl::StatusOr<DeltaSums> DeltasFromProto(const ModelSpec& model,
                                          const v1::ReduceNormsRequest& proto) {
  ASSIGN_OR_RETURN(DeltaSums sums, HeadFromProto<double>(model, proto));
  sums.blocks.assign(proto.deltas().begin(), proto.deltas().end());
  return sums;
}

}  // namespace percentdelta

#include "server/rpc/block_sums_proto.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

absl::Status NoTensor(const std::string& name) {
  return absl::NotFoundError(
      absl::StrCat("tensor \"", name.substr(0, 100), "\": expected one of the job, got none"));
}

}  // namespace

NormSums FromProto(const v1::NormSums& proto) {
  return {proto.ratio_l1(), proto.gradient_l1(), proto.weight_l1(), proto.gradient_l2_squared(),
          proto.weight_l2_squared()};
}

void ToProto(const NormSums& sums, v1::NormSums& proto) {
  proto.set_ratio_l1(sums.ratio_l1);
  proto.set_gradient_l1(sums.gradient_l1);
  proto.set_weight_l1(sums.weight_l1);
  proto.set_gradient_l2_squared(sums.gradient_l2_squared);
  proto.set_weight_l2_squared(sums.weight_l2_squared);
}

absl::StatusOr<BlockSums> NormsFromProto(const ModelSpec& model,
                                         const v1::ReduceNormsRequest& proto) {
  BlockSums sums{model.Find(proto.tensor()), proto.step(), proto.first_block(), {}};
  if (sums.tensor < 0) return NoTensor(proto.tensor());
  for (const v1::NormSums& block : proto.blocks()) sums.blocks.push_back(FromProto(block));
  return sums;
}

absl::StatusOr<DeltaSums> DeltasFromProto(const ModelSpec& model,
                                          const v1::ReduceNormsRequest& proto) {
  DeltaSums sums{model.Find(proto.tensor()), proto.step(), proto.first_block(), {}};
  if (sums.tensor < 0) return NoTensor(proto.tensor());
  sums.blocks.assign(proto.deltas().begin(), proto.deltas().end());
  return sums;
}

}  // namespace percentdelta

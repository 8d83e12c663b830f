// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/cluster_info_proto.h"

#include <string>
#include <utility>

#include "common/base/address.h"
#include "common/base/status_macros.h"
#include "common/job/job_codec.h"

namespace percentdelta {

absl::StatusOr<ClusterInfo> FromProto(const v1::GetJobResponse& proto) {
  ASSIGN_OR_RETURN(Job job, JobFromProto(proto.job()));
  if (proto.generation() != 0 && proto.shard_addresses().empty()) {
    return absl::DataLossError(
        "the coordinator's answer: expected the shards' addresses, got none");
  }
  for (const std::string& address : proto.shard_addresses()) {
    const absl::Status status = CheckHostAndPort("the coordinator's answer", address);
    if (!status.ok()) return absl::DataLossError(status.message());
  }
  return ClusterInfo{std::move(job),
                     proto.job_hash(),
                     proto.generation(),
                     {proto.shard_addresses().begin(), proto.shard_addresses().end()}};
}

void ToProto(const ClusterInfo& info, const Partition& partition, v1::GetJobResponse& proto) {
  *proto.mutable_job() = JobToProto(info.job);
  proto.set_job_hash(info.job_hash);
  proto.set_generation(info.generation);
  for (const std::string& address : info.shard_addresses) proto.add_shard_addresses(address);
  if (info.shard_addresses.empty()) return;
  for (int tensor = 0; tensor < static_cast<int>(info.job.model.tensors.size()); ++tensor) {
    for (const TensorRange& range : partition.ranges_of_tensor(tensor)) {
      v1::Slice& slice = *proto.add_partition();
      slice.set_tensor(range.tensor);
      slice.set_begin(range.begin);
      slice.set_end(range.end);
      slice.set_shard(range.shard);
    }
  }
}

}  // namespace percentdelta

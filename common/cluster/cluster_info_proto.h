// SPDX-License-Identifier: Apache-2.0

// Conversion of ClusterInfo to and from its message.

#ifndef PERCENTDELTA_COMMON_CLUSTER_CLUSTER_INFO_PROTO_H_
#define PERCENTDELTA_COMMON_CLUSTER_CLUSTER_INFO_PROTO_H_

#include "absl/status/statusor.h"
#include "common/cluster/cluster_info.h"
#include "common/job/partition.h"
#include "percentdelta/v1/coordinator.pb.h"

namespace percentdelta {

// kInvalidArgument: the job is invalid here (the coordinator may have another version).
// kDataLoss: addresses are missing or malformed.
absl::StatusOr<ClusterInfo> FromProto(const v1::GetJobResponse& proto);

// `partition`: of the job over the cluster's shards. It is left out while they are gathering. The
// conversion back ignores it: C++ clients compute it.
void ToProto(const ClusterInfo& info, const Partition& partition, v1::GetJobResponse& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_CLUSTER_INFO_PROTO_H_

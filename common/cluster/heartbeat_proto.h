// SPDX-License-Identifier: Apache-2.0

// Conversion of heartbeats and their answers to and from messages.

#ifndef PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_PROTO_H_
#define PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_PROTO_H_

#include "absl/status/statusor.h"
#include "common/cluster/heartbeat.h"
#include "percentdelta/v1/coordinator.pb.h"

namespace percentdelta {

// Escapes and cuts text from the shard, so that it can be logged.
ShardBeat FromProto(const v1::HeartbeatRequest& proto);
void ToProto(const ShardBeat& beat, v1::HeartbeatRequest& proto);

// kDataLoss: an open generation without exactly `shard_count` shards, or a malformed address.
absl::StatusOr<ClusterView> FromProto(const v1::HeartbeatResponse& proto, int shard_count);
void ToProto(const ClusterView& view, v1::HeartbeatResponse& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_PROTO_H_

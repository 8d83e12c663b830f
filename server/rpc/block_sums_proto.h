// SPDX-License-Identifier: Apache-2.0

// Conversions of block sums from and to messages, for calls between a shard and a tensor's home.

#ifndef PERCENTDELTA_SERVER_RPC_BLOCK_SUMS_PROTO_H_
#define PERCENTDELTA_SERVER_RPC_BLOCK_SUMS_PROTO_H_

#include "absl/status/statusor.h"
#include "common/job/job.h"
#include "percentdelta/v1/parameter_server.pb.h"
#include "server/shard/block_sums.h"

namespace percentdelta {

NormSums FromProto(const v1::NormSums& proto);
DeltaNorms FromProto(const v1::DeltaNorms& proto);
void ToProto(const NormSums& sums, v1::NormSums& proto);
void ToProto(const DeltaNorms& norms, v1::DeltaNorms& proto);

// Write a slice's sums to a request, all but its generation.
void ToProto(const ModelSpec& model, const BlockSums& sums, v1::ReduceNormsRequest& proto);
void ToProto(const ModelSpec& model, const ProposedSums& sums, v1::ReduceNormsRequest& proto);
void ToProto(const ModelSpec& model, const DeltaSums& sums, v1::ReduceNormsRequest& proto);

// The sums of a request with `blocks`, with `proposed` and with `deltas`. kNotFound: no such tensor
// in the model.
absl::StatusOr<BlockSums> NormsFromProto(const ModelSpec& model,
                                         const v1::ReduceNormsRequest& proto);
absl::StatusOr<ProposedSums> ProposedFromProto(const ModelSpec& model,
                                               const v1::ReduceNormsRequest& proto);
absl::StatusOr<DeltaSums> DeltasFromProto(const ModelSpec& model,
                                          const v1::ReduceNormsRequest& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_BLOCK_SUMS_PROTO_H_

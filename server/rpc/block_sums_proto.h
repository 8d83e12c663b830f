// Conversions of block sums from and to messages, for calls between a shard and a tensor's home.

#ifndef PERCENTDELTA_SERVER_RPC_BLOCK_SUMS_PROTO_H_
#define PERCENTDELTA_SERVER_RPC_BLOCK_SUMS_PROTO_H_

#include "absl/status/statusor.h"
#include "common/job/job.h"
#include "percentdelta/v1/parameter_server.pb.h"
#include "server/shard/delta_collector.h"
#include "server/shard/norm_reducer.h"

namespace percentdelta {

NormSums FromProto(const v1::NormSums& proto);
void ToProto(const NormSums& sums, v1::NormSums& proto);

// The block sums of a request without deltas, and the sums of deltas of a request with them.
// kNotFound: no such tensor in the model.
absl::StatusOr<BlockSums> NormsFromProto(const ModelSpec& model,
                                         const v1::ReduceNormsRequest& proto);
absl::StatusOr<DeltaSums> DeltasFromProto(const ModelSpec& model,
                                          const v1::ReduceNormsRequest& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_BLOCK_SUMS_PROTO_H_

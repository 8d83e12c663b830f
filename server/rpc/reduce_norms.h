// SPDX-License-Identifier: Apache-2.0

// The RPC ParameterServer.ReduceNorms.

#ifndef PERCENTDELTA_SERVER_RPC_REDUCE_NORMS_H_
#define PERCENTDELTA_SERVER_RPC_REDUCE_NORMS_H_

#include <grpcpp/support/server_callback.h>

#include <string>

#include "percentdelta/v1/parameter_server.pb.h"
#include "server/rpc/call_limiter.h"
#include "server/shard/shard.h"

namespace percentdelta {

// Answers when the sums of all slices have arrived, or at once when the call is cancelled. Sums of
// deltas are answered at once. The reactor owns itself until the call is done; the limiter must
// outlive it. `peer`: its connection.
grpc::ServerUnaryReactor* StartReduceNorms(const Shard& shard, CallLimiter& limiter,
                                           const std::string& peer,
                                           const v1::ReduceNormsRequest& request,
                                           v1::ReduceNormsResponse* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REDUCE_NORMS_H_

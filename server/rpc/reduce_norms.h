// SPDX-License-Identifier: Apache-2.0

// The RPC ParameterServer.ReduceNorms.

#ifndef PERCENTDELTA_SERVER_RPC_REDUCE_NORMS_H_
#define PERCENTDELTA_SERVER_RPC_REDUCE_NORMS_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/rpc/call_limiter.h"
#include "server/shard/shard.h"

namespace percentdelta {

// Answers when the sums of all slices have arrived, or at once when the call is cancelled. Sums of
// deltas are answered at once. The reactor owns itself until the call is done; the limiter must
// outlive it. `request` and `response` are serialized messages of the .proto.
grpc::ServerUnaryReactor* StartReduceNorms(const Shard& shard, CallLimiter& limiter,
                                           const CallPeer& peer, const grpc::ByteBuffer& request,
                                           grpc::ByteBuffer* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REDUCE_NORMS_H_

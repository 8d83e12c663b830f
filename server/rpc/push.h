// SPDX-License-Identifier: Apache-2.0

// The RPC ParameterServer.Push.

#ifndef PERCENTDELTA_SERVER_RPC_PUSH_H_
#define PERCENTDELTA_SERVER_RPC_PUSH_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>

#include "server/rpc/call_limiter.h"
#include "server/shard/shard.h"

namespace percentdelta {

// Passes the stream's chunks to a GradientAssembly, which copies the values out of the received
// messages, or out of the caller's shared memory. The limiter and the shard must outlive the call,
// which comes on the connection `peer`. `response` and what is read are serialized messages of the
// .proto. The reactor owns itself until the call is done.
grpc::ServerReadReactor<grpc::ByteBuffer>* StartPush(const Shard& shard, CallLimiter& limiter,
                                                     const CallPeer& peer,
                                                     grpc::ByteBuffer* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PUSH_H_

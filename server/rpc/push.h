// SPDX-License-Identifier: Apache-2.0

// The RPC ParameterServer.Push.

#ifndef PERCENTDELTA_SERVER_RPC_PUSH_H_
#define PERCENTDELTA_SERVER_RPC_PUSH_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>

#include "server/shard/shard.h"

namespace percentdelta {

// Limit of concurrent pushes, each of which may hold a gradient of the shard's size in memory.
inline constexpr int kMaxPushes = 256;

// Passes the stream's chunks to a GradientAssembly, which copies the values out of the received
// messages, or out of the caller's shared memory. `pushes` counts the pushes in flight; it and the
// shard must outlive the call. `response` and what is read are serialized messages of the .proto.
// The reactor owns itself until the call is done.
grpc::ServerReadReactor<grpc::ByteBuffer>* StartPush(const Shard& shard, std::atomic<int>& pushes,
                                                     grpc::ByteBuffer* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PUSH_H_

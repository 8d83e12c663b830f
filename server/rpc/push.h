// The RPC ParameterServer.Push.

#ifndef PERCENTDELTA_SERVER_RPC_PUSH_H_
#define PERCENTDELTA_SERVER_RPC_PUSH_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>

#include "server/shard/shard.h"

namespace percentdelta {

// Pushes at a time, each of which may hold a gradient of the shard's size.
inline constexpr int kMaxPushes = 256;

// Feeds the stream's chunks to a GradientAssembly, which copies the values out of the messages
// that came, or out of the caller's memory. `pushes` counts the pushes under way; it and the shard
// must outlive the call. `response` and what is read are the bytes of the .proto's messages. Owns
// itself until the call is done.
grpc::ServerReadReactor<grpc::ByteBuffer>* StartPush(const Shard& shard, std::atomic<int>& pushes,
                                                     grpc::ByteBuffer* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PUSH_H_

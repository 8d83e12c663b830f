// The RPC ParameterServer.Push.

#ifndef PERCENTDELTA_SERVER_RPC_PUSH_H_
#define PERCENTDELTA_SERVER_RPC_PUSH_H_

#include <grpcpp/support/server_callback.h>

#include <atomic>

#include "percentdelta/v1/parameter_server.pb.h"
#include "server/shard.h"

namespace percentdelta {

// Pushes at a time, each of which may hold a gradient of the shard's size.
inline constexpr int kMaxPushes = 256;

// Feeds the stream's chunks to a GradientAssembly. `pushes` counts the pushes under way; it and
// the shard must outlive the call. Owns itself until the call is done.
grpc::ServerReadReactor<v1::PushRequest>* StartPush(const Shard& shard, std::atomic<int>& pushes,
                                                    v1::PushResponse* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PUSH_H_

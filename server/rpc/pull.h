// SPDX-License-Identifier: Apache-2.0

// The RPC ParameterServer.Pull.

#ifndef PERCENTDELTA_SERVER_RPC_PULL_H_
#define PERCENTDELTA_SERVER_RPC_PULL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>

#include "server/rpc/call_limiter.h"
#include "server/shard/shard.h"

namespace percentdelta {

// Streams every slice of the shard at the request's step, each as soon as it reaches that step; of
// several, those that the forward pass needs first. Values are sent in place, without a copy, or
// written to the caller's shared memory if it `may_share` some and the request offers some that can
// be mapped. `request` and what is streamed are serialized messages of the .proto. The limiter and
// the shard must outlive the call. The reactor owns itself until the call is done.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartPull(const Shard& shard, CallLimiter& limiter,
                                                      const CallPeer& peer,
                                                      const grpc::ByteBuffer& request,
                                                      bool may_share = true);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PULL_H_

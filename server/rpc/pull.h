// The RPC ParameterServer.Pull.

#ifndef PERCENTDELTA_SERVER_RPC_PULL_H_
#define PERCENTDELTA_SERVER_RPC_PULL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/shard/shard.h"

namespace percentdelta {

// Streams every slice at the request's step, each the moment it gets there; among those that are
// there the ones that the forward pass needs first. Values are sent from where they are, without a
// copy, or written to memory of the caller's that it offers and that can be mapped. `request` and
// what is written are the bytes of the .proto's messages. Owns itself until the call is done.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartPull(const Shard& shard,
                                                      const grpc::ByteBuffer& request);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PULL_H_

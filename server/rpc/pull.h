// The RPC ParameterServer.Pull.

#ifndef PERCENTDELTA_SERVER_RPC_PULL_H_
#define PERCENTDELTA_SERVER_RPC_PULL_H_

#include <grpcpp/support/server_callback.h>

#include "percentdelta/v1/parameter_server.pb.h"
#include "server/shard.h"

namespace percentdelta {

// Streams every slice at the request's step, each the moment it gets there; among those that are
// there the ones that the forward pass needs first. Owns itself until the call is done.
grpc::ServerWriteReactor<v1::PullResponse>* StartPull(const Shard& shard,
                                                      const v1::PullRequest& request);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PULL_H_

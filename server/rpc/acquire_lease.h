// The RPC Coordinator.AcquireLease.

#ifndef PERCENTDELTA_SERVER_RPC_ACQUIRE_LEASE_H_
#define PERCENTDELTA_SERVER_RPC_ACQUIRE_LEASE_H_

#include <grpcpp/support/server_callback.h>

#include "percentdelta/v1/coordinator.pb.h"
#include "server/coordinator/coordinator.h"

namespace percentdelta {

// Answers when there is work, and holds no thread until then. A caller that leaves gets no lease.
// Owns itself until the call is done; the coordinator must outlive it.
grpc::ServerUnaryReactor* StartAcquireLease(Coordinator& coordinator,
                                            const v1::AcquireLeaseRequest& request,
                                            v1::Lease* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_ACQUIRE_LEASE_H_

// SPDX-License-Identifier: Apache-2.0

// The RPC Coordinator.AcquireLease.

#ifndef PERCENTDELTA_SERVER_RPC_ACQUIRE_LEASE_H_
#define PERCENTDELTA_SERVER_RPC_ACQUIRE_LEASE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>

#include "percentdelta/v1/coordinator.pb.h"
#include "server/coordinator/coordinator.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/lease_ids.h"

namespace percentdelta {

// Answers when there is work, without blocking a thread until then. A call that is cancelled gets
// no lease. `worker` stands for the request's name of the worker. The lease's id is hidden by
// `ids`. The reactor owns itself until the call is done; the coordinator, the limiter and the ids
// must outlive it.
grpc::ServerUnaryReactor* StartAcquireLease(Coordinator& coordinator, CallLimiter& limiter,
                                            const CallPeer& peer,
                                            const v1::AcquireLeaseRequest& request,
                                            const std::string& worker, const LeaseIds& ids,
                                            grpc::ByteBuffer* response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_ACQUIRE_LEASE_H_

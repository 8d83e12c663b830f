// SPDX-License-Identifier: Apache-2.0

// Conversion of leases and their results to and from messages.

#ifndef PERCENTDELTA_COMMON_CLUSTER_LEASE_PROTO_H_
#define PERCENTDELTA_COMMON_CLUSTER_LEASE_PROTO_H_

#include "common/cluster/lease.h"
#include "percentdelta/v1/coordinator.pb.h"

namespace percentdelta {

// An unknown kind becomes kWait.
Lease FromProto(const v1::Lease& proto);
void ToProto(const Lease& lease, v1::Lease& proto);

// Escapes and cuts text from the caller, so that it can be logged, apart from what is checked
// before it is used: identity and metrics.
WorkerIdentity FromProto(const v1::AcquireLeaseRequest& proto);
LeaseResult FromProto(const v1::CompleteLeaseRequest& proto);
void ToProto(const LeaseResult& result, v1::CompleteLeaseRequest& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_LEASE_PROTO_H_

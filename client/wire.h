// Between the wire's messages and the client's own types. Protobuf stops here.

#ifndef PERCENTDELTA_CLIENT_WIRE_H_
#define PERCENTDELTA_CLIENT_WIRE_H_

#include "absl/status/statusor.h"
#include "client/coordinator_stub.h"
#include "common/lease.h"
#include "common/progress.h"
#include "common/statistics.h"
#include "percentdelta/v1/coordinator.pb.h"
#include "percentdelta/v1/statistics.pb.h"

namespace percentdelta {

// kInvalidArgument: the coordinator's job is not valid here (another version, perhaps).
absl::StatusOr<ClusterJob> FromProto(const v1::GetJobResponse& proto);

Lease FromProto(const v1::Lease& proto);
v1::CompleteLeaseRequest ToProto(const LeaseResult& result);
Progress FromProto(const v1::GetProgressResponse& proto);
StepStatistics FromProto(const v1::StepStatistics& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_WIRE_H_

// Between the wire's messages and the server's own types. Protobuf stops here.

#ifndef PERCENTDELTA_SERVER_WIRE_H_
#define PERCENTDELTA_SERVER_WIRE_H_

#include "absl/status/statusor.h"
#include "common/job.h"
#include "common/lease.h"
#include "common/progress.h"
#include "common/statistics.h"
#include "percentdelta/v1/coordinator.pb.h"
#include "percentdelta/v1/parameter_server.pb.h"
#include "percentdelta/v1/statistics.pb.h"
#include "server/delta_collector.h"
#include "server/membership.h"
#include "server/norm_reducer.h"

namespace percentdelta {

NormSums FromProto(const v1::NormSums& proto);
void ToProto(const NormSums& sums, v1::NormSums& proto);

TensorUpdate FromProto(const v1::TensorUpdate& proto);
void ToProto(const TensorUpdate& update, v1::TensorUpdate& proto);
void ToProto(const StepStatistics& step, v1::StepStatistics& proto);

void ToProto(const ProgressPoint& point, v1::TrainingPoint& proto);
void ToProto(const ProgressPoint& point, v1::EvaluationPoint& proto);

// The sums of a request without deltas, and of one with them. kNotFound: no such tensor in the
// model.
absl::StatusOr<BlockSums> NormsFromProto(const ModelSpec& model,
                                         const v1::ReduceNormsRequest& proto);
absl::StatusOr<DeltaSums> DeltasFromProto(const ModelSpec& model,
                                          const v1::ReduceNormsRequest& proto);

ShardBeat FromProto(const v1::HeartbeatRequest& proto);
void ToProto(const ShardBeat& beat, v1::HeartbeatRequest& proto);
LeaseResult FromProto(const v1::CompleteLeaseRequest& proto);
void ToProto(const Lease& lease, v1::Lease& proto);
void ToProto(const Progress& progress, v1::GetProgressResponse& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_WIRE_H_

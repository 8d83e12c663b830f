#include "server/rpc/services.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/cluster/cluster_info_proto.h"
#include "common/cluster/heartbeat_proto.h"
#include "common/cluster/lease_proto.h"
#include "common/cluster/progress_proto.h"
#include "common/cluster/statistics_proto.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/acquire_lease.h"
#include "server/rpc/pull.h"
#include "server/rpc/push.h"
#include "server/rpc/reduce_norms.h"
#include "server/rpc/remote_coordinator.h"
#include "server/rpc/watch_update_statistics.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxStatisticsBytes = 4 << 20;
constexpr size_t kFieldOverhead = 8;  // of a message in a message, at most

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

absl::Status QueryStatistics(const StatisticsRing& ring,
                             const v1::GetUpdateStatisticsRequest& request,
                             v1::GetUpdateStatisticsResponse& response) {
  RETURN_IF_ERROR(ring.CheckLayer(request.layer()));
  if (request.last() < 0 || request.first_step() < 0 || request.last_step() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("statistics: expected numbers of at least 0, got last ", request.last(),
                     ", steps ", request.first_step(), "..", request.last_step()));
  }
  int64_t first = request.first_step();
  int64_t last = request.last_step();
  if (request.last() > 0) {
    last = ring.newest();
    first = last + 1 - request.last();
  } else if (last == 0) {
    last = std::numeric_limits<int64_t>::max();
  }
  // The newest that fit into a message; whoever wants the others asks for those before.
  std::vector<v1::StepStatistics> steps;
  size_t bytes = 0;
  const std::vector<StepStatistics> range = ring.Range(first, last, request.layer());
  for (auto step = range.rbegin(); step != range.rend(); ++step) {
    ToProto(*step, steps.emplace_back());
    bytes += steps.back().ByteSizeLong() + kFieldOverhead;
    if (bytes > kMaxStatisticsBytes && steps.size() > 1) {
      steps.pop_back();
      break;
    }
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    *response.add_steps() = std::move(*step);
  }
  response.set_oldest_step(ring.oldest());
  return absl::OkStatus();
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ParameterServerService::Pull(
    grpc::CallbackServerContext* /*context*/, const grpc::ByteBuffer* request) {
  return StartPull(shard_, *request);
}

grpc::ServerReadReactor<grpc::ByteBuffer>* ParameterServerService::Push(
    grpc::CallbackServerContext* /*context*/, grpc::ByteBuffer* response) {
  return StartPush(shard_, pushes_, response);
}

grpc::ServerUnaryReactor* ParameterServerService::ReduceNorms(
    grpc::CallbackServerContext* /*context*/, const v1::ReduceNormsRequest* request,
    v1::ReduceNormsResponse* response) {
  return StartReduceNorms(shard_, *request, response);
}

grpc::ServerUnaryReactor* ParameterServerService::Identify(grpc::CallbackServerContext* context,
                                                           const v1::IdentifyRequest* /*request*/,
                                                           v1::IdentifyResponse* response) {
  response->set_shard(identity_.shard);
  response->set_job_hash(identity_.job_hash);
  response->set_incarnation(identity_.incarnation);
  return Answer(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* CoordinatorService::GetJob(grpc::CallbackServerContext* context,
                                                     const v1::GetJobRequest* /*request*/,
                                                     v1::GetJobResponse* response) {
  const ClusterView view = coordinator_.view();
  ToProto({coordinator_.job(), coordinator_.job_hash(), view.generation, view.addresses},
          *response);
  return Answer(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* CoordinatorService::AcquireLease(grpc::CallbackServerContext* /*context*/,
                                                           const v1::AcquireLeaseRequest* request,
                                                           v1::Lease* response) {
  return StartAcquireLease(coordinator_, *request, response);
}

grpc::ServerUnaryReactor* CoordinatorService::CompleteLease(grpc::CallbackServerContext* context,
                                                            const v1::CompleteLeaseRequest* request,
                                                            v1::Lease* response) {
  const absl::StatusOr<Lease> next = coordinator_.Complete(FromProto(*request));
  if (next.ok()) ToProto(*next, *response);
  return Answer(context, next.status());
}

grpc::ServerUnaryReactor* CoordinatorService::RenewLease(grpc::CallbackServerContext* context,
                                                         const v1::RenewLeaseRequest* request,
                                                         v1::RenewLeaseResponse* response) {
  const absl::StatusOr<absl::Duration> deadline =
      coordinator_.Renew(request->generation(), request->lease_id(), request->worker());
  if (deadline.ok()) response->set_deadline_ms(absl::ToInt64Milliseconds(*deadline));
  return Answer(context, deadline.status());
}

grpc::ServerUnaryReactor* CoordinatorService::TakeCheckpoint(
    grpc::CallbackServerContext* context, const v1::TakeCheckpointRequest* /*request*/,
    v1::TakeCheckpointResponse* response) {
  const absl::StatusOr<int64_t> step = coordinator_.TakeCheckpoint();
  if (step.ok()) response->set_at_least_step(*step);
  return Answer(context, step.status());
}

grpc::ServerUnaryReactor* CoordinatorService::GetProgress(grpc::CallbackServerContext* context,
                                                          const v1::GetProgressRequest* request,
                                                          v1::GetProgressResponse* response) {
  ToProto(coordinator_.GetProgress(request->from_step()), *response);
  return Answer(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* CoordinatorService::Heartbeat(grpc::CallbackServerContext* context,
                                                        const v1::HeartbeatRequest* request,
                                                        v1::HeartbeatResponse* response) {
  const absl::StatusOr<ClusterView> view = coordinator_.Heartbeat(FromProto(*request));
  if (!view.ok()) {
    if (!absl::IsUnavailable(view.status())) context->AddTrailingMetadata(kRefusedKey, "1");
    return Answer(context, view.status());
  }
  ToProto(*view, *response);
  return Answer(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* CoordinatorService::ReportStatistics(
    grpc::CallbackServerContext* context, const v1::ReportStatisticsRequest* request,
    v1::ReportStatisticsResponse* /*response*/) {
  std::vector<TensorStatistics> updates;
  for (const v1::TensorStatistics& update : request->updates()) updates.push_back(FromProto(update));
  return Answer(context, coordinator_.ReportStatistics(request->generation(), updates));
}

grpc::ServerUnaryReactor* StatisticsService::GetUpdateStatistics(
    grpc::CallbackServerContext* context, const v1::GetUpdateStatisticsRequest* request,
    v1::GetUpdateStatisticsResponse* response) {
  return Answer(context, QueryStatistics(ring_, *request, *response));
}

grpc::ServerWriteReactor<v1::StepStatistics>* StatisticsService::WatchUpdateStatistics(
    grpc::CallbackServerContext* /*context*/, const v1::WatchUpdateStatisticsRequest* request) {
  return StartWatchUpdateStatistics(ring_, *request);
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/services.h"

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/role.h"
#include "common/cluster/cluster_info_proto.h"
#include "common/cluster/heartbeat_proto.h"
#include "common/cluster/lease_proto.h"
#include "common/cluster/progress_proto.h"
#include "common/cluster/statistics_proto.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/access_policy.h"
#include "server/rpc/acquire_lease.h"
#include "server/rpc/answer.h"
#include "server/rpc/gatekeeper.h"
#include "server/rpc/get_update_statistics.h"
#include "server/rpc/pull.h"
#include "server/rpc/push.h"
#include "server/rpc/reduce_norms.h"
#include "server/rpc/remote_coordinator.h"
#include "server/rpc/watch_update_statistics.h"

namespace percentdelta {
namespace {

// Answers, and logs a refusal that depends on the caller.
grpc::ServerUnaryReactor* Answer(CallLimiter& limiter, grpc::CallbackServerContext* context,
                                 const absl::Status& status, absl::string_view path,
                                 RefusalLog& refusals) {
  if (absl::IsPermissionDenied(status)) {
    refusals.Write(path, absl::StrCat(CallerOf(*context), " ", context->peer()), status);
  }
  return Answer(limiter, context, status);
}

// The coordinator's name of a worker: its own, followed by that of its certificate or token, so
// that no other caller can have it.
std::string WorkerName(const grpc::CallbackServerContext& context, const std::string& name) {
  const std::string caller = CallerOf(context);
  if (caller.empty()) return name;
  const absl::StatusOr<Principal> principal = ParsePrincipal(caller);
  return absl::StrCat(name, " (", principal.ok() ? principal->name : caller, ")");
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ParameterServerService::Pull(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartPull(shard_, limiter_, context->peer(), *request);
}

grpc::ServerReadReactor<grpc::ByteBuffer>* ParameterServerService::Push(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* response) {
  return StartPush(shard_, limiter_, context->peer(), response);
}

grpc::ServerUnaryReactor* ParameterServerService::ReduceNorms(grpc::CallbackServerContext* context,
                                                              const v1::ReduceNormsRequest* request,
                                                              v1::ReduceNormsResponse* response) {
  return StartReduceNorms(shard_, limiter_, context->peer(), *request, response);
}

grpc::ServerUnaryReactor* ParameterServerService::Identify(grpc::CallbackServerContext* context,
                                                           const v1::IdentifyRequest* /*request*/,
                                                           v1::IdentifyResponse* response) {
  response->set_shard(identity_.shard);
  response->set_job_hash(identity_.job_hash);
  response->set_incarnation(identity_.incarnation);
  return Answer(limiter_, context, absl::OkStatus());
}

grpc::ServerUnaryReactor* CoordinatorService::GetJob(grpc::CallbackServerContext* context,
                                                     const v1::GetJobRequest* /*request*/,
                                                     v1::GetJobResponse* response) {
  return AnswerQuery(limiter_, context, [&] {
    const ClusterView view = coordinator_.view();
    ToProto({coordinator_.job(), coordinator_.job_hash(), view.generation, view.addresses},
            partition_, *response);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CoordinatorService::AcquireLease(grpc::CallbackServerContext* context,
                                                           const v1::AcquireLeaseRequest* request,
                                                           v1::Lease* response) {
  return StartAcquireLease(coordinator_, limiter_, context->peer(), *request,
                           WorkerName(*context, request->worker()), lease_ids_, response);
}

grpc::ServerUnaryReactor* CoordinatorService::CompleteLease(grpc::CallbackServerContext* context,
                                                            const v1::CompleteLeaseRequest* request,
                                                            v1::Lease* response) {
  LeaseResult result = FromProto(*request);
  result.worker = WorkerName(*context, request->worker());
  result.lease_id = lease_ids_.Reveal(result.lease_id);
  absl::StatusOr<Lease> next = coordinator_.Complete(result);
  if (next.ok()) {
    next->id = lease_ids_.Hide(next->id);
    ToProto(*next, *response);
  }
  return Answer(limiter_, context, next.status(), "CompleteLease", refusals_);
}

grpc::ServerUnaryReactor* CoordinatorService::RenewLease(grpc::CallbackServerContext* context,
                                                         const v1::RenewLeaseRequest* request,
                                                         v1::RenewLeaseResponse* response) {
  const absl::StatusOr<absl::Duration> deadline =
      coordinator_.Renew(request->generation(), lease_ids_.Reveal(request->lease_id()),
                         WorkerName(*context, request->worker()));
  if (deadline.ok()) response->set_deadline_ms(absl::ToInt64Milliseconds(*deadline));
  return Answer(limiter_, context, deadline.status(), "RenewLease", refusals_);
}

grpc::ServerUnaryReactor* CoordinatorService::TakeCheckpoint(
    grpc::CallbackServerContext* context, const v1::TakeCheckpointRequest* /*request*/,
    v1::TakeCheckpointResponse* response) {
  const absl::StatusOr<int64_t> step = coordinator_.TakeCheckpoint();
  if (step.ok()) response->set_at_least_step(*step);
  return Answer(limiter_, context, step.status());
}

grpc::ServerUnaryReactor* CoordinatorService::Pause(grpc::CallbackServerContext* context,
                                                    const v1::PauseRequest* /*request*/,
                                                    v1::PauseResponse* /*response*/) {
  return Answer(limiter_, context, coordinator_.Pause());
}

grpc::ServerUnaryReactor* CoordinatorService::Resume(grpc::CallbackServerContext* context,
                                                     const v1::ResumeRequest* /*request*/,
                                                     v1::ResumeResponse* /*response*/) {
  return Answer(limiter_, context, coordinator_.Resume());
}

grpc::ServerUnaryReactor* CoordinatorService::Drain(grpc::CallbackServerContext* context,
                                                    const v1::DrainRequest* /*request*/,
                                                    v1::DrainResponse* response) {
  const absl::StatusOr<int64_t> step = coordinator_.Drain();
  if (step.ok()) response->set_at_least_step(*step);
  return Answer(limiter_, context, step.status());
}

grpc::ServerUnaryReactor* CoordinatorService::GetProgress(grpc::CallbackServerContext* context,
                                                          const v1::GetProgressRequest* request,
                                                          v1::GetProgressResponse* response) {
  return AnswerQuery(limiter_, context, [&] {
    ToProto(coordinator_.GetProgress(request->from_step()), *response);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CoordinatorService::Heartbeat(grpc::CallbackServerContext* context,
                                                        const v1::HeartbeatRequest* request,
                                                        v1::HeartbeatResponse* response) {
  if (absl::Status status = CheckSpeaksFor(CallerOf(*context), request->shard()); !status.ok()) {
    return Answer(limiter_, context, status, "Heartbeat", refusals_);
  }
  if (request->shard() == 0) {
    return Answer(limiter_, context,
                  absl::PermissionDeniedError("shard 0 is in the coordinator's own process: it "
                                              "cannot be replaced over the network"),
                  "Heartbeat", refusals_);
  }
  const absl::StatusOr<ClusterView> view = coordinator_.Heartbeat(FromProto(*request));
  if (!view.ok()) {
    if (!absl::IsUnavailable(view.status())) context->AddTrailingMetadata(kRefusedKey, "1");
    return Answer(limiter_, context, view.status());
  }
  ToProto(*view, *response);
  return Answer(limiter_, context, absl::OkStatus());
}

grpc::ServerUnaryReactor* CoordinatorService::ReportStatistics(
    grpc::CallbackServerContext* context, const v1::ReportStatisticsRequest* request,
    v1::ReportStatisticsResponse* /*response*/) {
  std::vector<TensorStatistics> updates;
  for (const v1::TensorStatistics& update : request->updates())
    updates.push_back(FromProto(update));
  return Answer(limiter_, context, coordinator_.ReportStatistics(request->generation(), updates));
}

grpc::ServerUnaryReactor* StatisticsService::GetUpdateStatistics(
    grpc::CallbackServerContext* context, const v1::GetUpdateStatisticsRequest* request,
    v1::GetUpdateStatisticsResponse* response) {
  return AnswerQuery(limiter_, context,
                     [&] { return percentdelta::GetUpdateStatistics(ring_, *request, *response); });
}

grpc::ServerWriteReactor<v1::StepStatistics>* StatisticsService::WatchUpdateStatistics(
    grpc::CallbackServerContext* context, const v1::WatchUpdateStatisticsRequest* request) {
  return StartWatchUpdateStatistics(ring_, limiter_, context->peer(), *request);
}

}  // namespace percentdelta

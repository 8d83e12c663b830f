// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/services.h"

#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster/cluster_info_proto.h"
#include "common/cluster/heartbeat_proto.h"
#include "common/cluster/lease_proto.h"
#include "common/cluster/progress_proto.h"
#include "common/cluster/statistics_proto.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/acquire_lease.h"
#include "server/rpc/get_update_statistics.h"
#include "server/rpc/pull.h"
#include "server/rpc/push.h"
#include "server/rpc/reduce_norms.h"
#include "server/rpc/remote_coordinator.h"
#include "server/rpc/watch_update_statistics.h"

namespace percentdelta {
namespace {

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
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
          partition_, *response);
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
  for (const v1::TensorStatistics& update : request->updates())
    updates.push_back(FromProto(update));
  return Answer(context, coordinator_.ReportStatistics(request->generation(), updates));
}

grpc::ServerUnaryReactor* StatisticsService::GetUpdateStatistics(
    grpc::CallbackServerContext* context, const v1::GetUpdateStatisticsRequest* request,
    v1::GetUpdateStatisticsResponse* response) {
  return Answer(context, percentdelta::GetUpdateStatistics(ring_, *request, *response));
}

grpc::ServerWriteReactor<v1::StepStatistics>* StatisticsService::WatchUpdateStatistics(
    grpc::CallbackServerContext* /*context*/, const v1::WatchUpdateStatisticsRequest* request) {
  return StartWatchUpdateStatistics(ring_, *request);
}

}  // namespace percentdelta

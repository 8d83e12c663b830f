// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/services.h"

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/role.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/cluster/cluster_info_proto.h"
#include "common/cluster/heartbeat_proto.h"
#include "common/cluster/histogram_proto.h"
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
#include "server/rpc/request.h"
#include "server/rpc/watch_update_statistics.h"

namespace percentdelta {
namespace {

// How long an operator's call may hold its thread, for as long as the coordinator's next work on
// disk takes. All other calls never wait.
constexpr absl::Duration kRecordTimeout = absl::Seconds(2);

UnaryCall CallOf(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                 grpc::ByteBuffer* response) {
  return {context, PeerOf(*context), request, response};
}

// Logs a refusal that depends on the caller.
absl::Status Logged(absl::Status status, absl::string_view rpc, const UnaryCall& call,
                    RefusalLog& refusals) {
  if (absl::IsPermissionDenied(status)) {
    refusals.Write(rpc, absl::StrCat(CallerOf(*call.context), " ", call.peer.connection), status);
  }
  return status;
}

// The coordinator's name of a worker: its own, followed by that of its certificate or token, so
// that no other caller can have it.
std::string WorkerName(const grpc::CallbackServerContext& context, const std::string& name) {
  const std::string caller = CallerOf(context);
  if (caller.empty()) return name;
  const absl::StatusOr<Principal> principal = ParsePrincipal(caller);
  return absl::StrCat(name, " (", principal.ok() ? principal->name : caller, ")");
}

// Weights are written to the memory of workers only; an operator, who may pull them, too, gets a
// stream. Without certificates it is not known who calls.
bool MayShareMemory(const CallPeer& peer) {
  const absl::StatusOr<Principal> principal = ParsePrincipal(peer.caller);
  return !principal.ok() || principal->role == Role::kWorker;
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ParameterServerService::Pull(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  const CallPeer peer = PeerOf(*context);
  return StartPull(shard_, limiter_, peer, *request, MayShareMemory(peer));
}

grpc::ServerReadReactor<grpc::ByteBuffer>* ParameterServerService::Push(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* response) {
  return StartPush(shard_, limiter_, PeerOf(*context), response);
}

grpc::ServerUnaryReactor* ParameterServerService::ReduceNorms(grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer* request,
                                                              grpc::ByteBuffer* response) {
  return StartReduceNorms(shard_, limiter_, PeerOf(*context), *request, response);
}

grpc::ServerUnaryReactor* ParameterServerService::Identify(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* bytes,
                                                           grpc::ByteBuffer* response) {
  return AnswerAtOnce<v1::IdentifyRequest, v1::IdentifyResponse>(
      limiter_, CallOf(context, bytes, response), Sender::kAny,
      [&](const v1::IdentifyRequest&, v1::IdentifyResponse& answer) {
        answer.set_shard(identity_.shard);
        answer.set_job_hash(identity_.job_hash);
        answer.set_incarnation(identity_.incarnation);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CoordinatorService::GetJob(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* bytes,
                                                     grpc::ByteBuffer* response) {
  v1::GetJobRequest request;
  v1::GetJobResponse answer;
  return AnswerQuery(limiter_, CallOf(context, bytes, response), request, answer, [&] {
    const ClusterView view = coordinator_.view();
    ToProto({coordinator_.job(), coordinator_.job_hash(), view.generation, view.addresses},
            partition_, answer);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CoordinatorService::AcquireLease(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* bytes,
                                                           grpc::ByteBuffer* response) {
  const UnaryCall call = CallOf(context, bytes, response);
  v1::AcquireLeaseRequest request;
  const absl::Status decoded = DecodeRequest(limiter_.limits(), Sender::kAny, *bytes, request);
  if (!decoded.ok()) return Answer(limiter_, call, decoded, v1::Lease());
  return StartAcquireLease(coordinator_, limiter_, call.peer, request,
                           WorkerName(*context, request.worker()), lease_ids_, response);
}

grpc::ServerUnaryReactor* CoordinatorService::CompleteLease(grpc::CallbackServerContext* context,
                                                            const grpc::ByteBuffer* bytes,
                                                            grpc::ByteBuffer* response) {
  const UnaryCall call = CallOf(context, bytes, response);
  return AnswerAtOnce<v1::CompleteLeaseRequest, v1::Lease>(
      limiter_, call, Sender::kAny, [&](const v1::CompleteLeaseRequest& request, v1::Lease& lease) {
        LeaseResult result = FromProto(request);
        result.worker = WorkerName(*context, request.worker());
        result.lease_id = lease_ids_.Reveal(result.lease_id);
        absl::StatusOr<Lease> next = coordinator_.Complete(result);
        if (!next.ok()) return Logged(next.status(), "CompleteLease", call, refusals_);
        next->id = lease_ids_.Hide(next->id);
        ToProto(*next, lease);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CoordinatorService::RenewLease(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* bytes,
                                                         grpc::ByteBuffer* response) {
  const UnaryCall call = CallOf(context, bytes, response);
  return AnswerAtOnce<v1::RenewLeaseRequest, v1::RenewLeaseResponse>(
      limiter_, call, Sender::kAny,
      [&](const v1::RenewLeaseRequest& request, v1::RenewLeaseResponse& answer) {
        const absl::StatusOr<absl::Duration> deadline =
            coordinator_.Renew(request.generation(), lease_ids_.Reveal(request.lease_id()),
                               WorkerName(*context, request.worker()));
        if (!deadline.ok()) return Logged(deadline.status(), "RenewLease", call, refusals_);
        answer.set_deadline_ms(absl::ToInt64Milliseconds(*deadline));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CoordinatorService::TakeCheckpoint(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* bytes,
                                                             grpc::ByteBuffer* response) {
  return AnswerAtOnce<v1::TakeCheckpointRequest, v1::TakeCheckpointResponse>(
      limiter_, CallOf(context, bytes, response), Sender::kAny,
      [&](const v1::TakeCheckpointRequest&, v1::TakeCheckpointResponse& answer) {
        const absl::StatusOr<int64_t> step = coordinator_.TakeCheckpoint();
        if (step.ok()) answer.set_at_least_step(*step);
        return step.status();
      });
}

grpc::ServerUnaryReactor* CoordinatorService::Pause(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* bytes,
                                                    grpc::ByteBuffer* response) {
  return AnswerAtOnce<v1::PauseRequest, v1::PauseResponse>(
      limiter_, CallOf(context, bytes, response), Sender::kAny,
      [&](const v1::PauseRequest&, v1::PauseResponse&) -> absl::Status {
        RETURN_IF_ERROR(coordinator_.Pause());
        return coordinator_.AwaitPauseRecorded(kRecordTimeout);
      });
}

grpc::ServerUnaryReactor* CoordinatorService::Resume(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* bytes,
                                                     grpc::ByteBuffer* response) {
  return AnswerAtOnce<v1::ResumeRequest, v1::ResumeResponse>(
      limiter_, CallOf(context, bytes, response), Sender::kAny,
      [&](const v1::ResumeRequest&, v1::ResumeResponse&) -> absl::Status {
        RETURN_IF_ERROR(coordinator_.Resume());
        return coordinator_.AwaitPauseRecorded(kRecordTimeout);
      });
}

grpc::ServerUnaryReactor* CoordinatorService::Drain(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* bytes,
                                                    grpc::ByteBuffer* response) {
  return AnswerAtOnce<v1::DrainRequest, v1::DrainResponse>(
      limiter_, CallOf(context, bytes, response), Sender::kAny,
      [&](const v1::DrainRequest&, v1::DrainResponse& answer) {
        const absl::StatusOr<int64_t> step = coordinator_.Drain();
        if (step.ok()) answer.set_at_least_step(*step);
        return step.status();
      });
}

grpc::ServerUnaryReactor* CoordinatorService::GetProgress(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* bytes,
                                                          grpc::ByteBuffer* response) {
  v1::GetProgressRequest request;
  v1::GetProgressResponse answer;
  return AnswerQuery(limiter_, CallOf(context, bytes, response), request, answer, [&] {
    ToProto(coordinator_.GetProgress(request.from_step()), answer);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CoordinatorService::Heartbeat(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* bytes,
                                                        grpc::ByteBuffer* response) {
  const UnaryCall call = CallOf(context, bytes, response);
  return AnswerAtOnce<v1::HeartbeatRequest, v1::HeartbeatResponse>(
      limiter_, call, Sender::kServer,
      [&](const v1::HeartbeatRequest& request, v1::HeartbeatResponse& answer) {
        absl::Status status = CheckSpeaksFor(CallerOf(*context), request.shard());
        if (status.ok() && request.shard() == 0) {
          status = absl::PermissionDeniedError(
              "shard 0 is in the coordinator's own process: it cannot be "
              "replaced over the "
              "network");
        }
        if (!status.ok()) return Logged(std::move(status), "Heartbeat", call, refusals_);
        const absl::StatusOr<ClusterView> view = coordinator_.Heartbeat(FromProto(request));
        if (view.ok()) {
          ToProto(*view, answer);
        } else if (!absl::IsUnavailable(view.status())) {
          context->AddTrailingMetadata(kRefusedKey, "1");
        }
        return view.status();
      });
}

grpc::ServerUnaryReactor* CoordinatorService::ReportStatistics(grpc::CallbackServerContext* context,
                                                               const grpc::ByteBuffer* bytes,
                                                               grpc::ByteBuffer* response) {
  return AnswerAtOnce<v1::ReportStatisticsRequest, v1::ReportStatisticsResponse>(
      limiter_, CallOf(context, bytes, response), Sender::kServer,
      [&](const v1::ReportStatisticsRequest& request, v1::ReportStatisticsResponse&) {
        std::vector<TensorStatistics> updates;
        for (const v1::TensorStatistics& update : request.updates()) {
          updates.push_back(FromProto(update));
        }
        for (const v1::SliceHistograms& each : request.histograms()) {
          ASSIGN_OR_RETURN(const SliceHistograms histograms, FromProto(each));
          RETURN_IF_ERROR(coordinator_.ReportHistograms(request.generation(), histograms));
        }
        return coordinator_.ReportStatistics(request.generation(), updates);
      });
}

grpc::ServerUnaryReactor* StatisticsService::GetUpdateStatistics(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
    grpc::ByteBuffer* response) {
  v1::GetUpdateStatisticsRequest request;
  v1::GetUpdateStatisticsResponse answer;
  return AnswerQuery(limiter_, CallOf(context, bytes, response), request, answer,
                     [&] { return percentdelta::GetUpdateStatistics(ring_, request, answer); });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StatisticsService::WatchUpdateStatistics(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartWatchUpdateStatistics(ring_, limiter_, PeerOf(*context), *request);
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "client/coordinator_stub.h"

#include <grpcpp/client_context.h>

#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/cluster/cluster_info_proto.h"
#include "common/cluster/lease_proto.h"
#include "common/cluster/progress_proto.h"
#include "common/transport/channel.h"
#include "common/transport/credentials.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"

namespace percentdelta {
namespace {

class GrpcCoordinatorStub : public CoordinatorStub {
 public:
  GrpcCoordinatorStub(const std::string& address, absl::Duration deadline,
                      std::shared_ptr<const ClientCredentials> credentials)
      : address_(address),
        deadline_(deadline),
        credentials_(std::move(credentials)),
        channel_(MakeChannel(address, credentials_)),
        stub_(v1::Coordinator::NewStub(channel_)) {}

  absl::StatusOr<ClusterInfo> GetJob() override {
    Call call(*this, deadline_);
    v1::GetJobResponse response;
    const grpc::Status status = stub_->GetJob(call.context(), {}, &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

  absl::StatusOr<Lease> AcquireLease(const WorkerIdentity& worker,
                                     absl::Duration max_wait) override {
    Call call(*this, deadline_ + max_wait);
    v1::AcquireLeaseRequest request;
    request.set_worker(worker.name);
    request.set_arithmetic(worker.arithmetic);
    request.set_data(worker.data);
    request.set_max_wait_ms(absl::ToInt64Milliseconds(max_wait));
    v1::Lease response;
    const grpc::Status status = stub_->AcquireLease(call.context(), request, &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

  absl::StatusOr<Lease> CompleteLease(const LeaseResult& result) override {
    Call call(*this, deadline_);
    v1::Lease response;
    v1::CompleteLeaseRequest request;
    ToProto(result, request);
    const grpc::Status status = stub_->CompleteLease(call.context(), request, &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

  absl::StatusOr<absl::Duration> RenewLease(const Lease& lease,
                                            const std::string& worker) override {
    Call call(*this, deadline_);
    v1::RenewLeaseRequest request;
    request.set_generation(lease.generation);
    request.set_lease_id(lease.id);
    request.set_worker(worker);
    v1::RenewLeaseResponse response;
    const grpc::Status status = stub_->RenewLease(call.context(), request, &response);
    if (!status.ok()) return Failed(status);
    return absl::Milliseconds(response.deadline_ms());
  }

  absl::StatusOr<int64_t> TakeCheckpoint() override {
    Call call(*this, deadline_);
    v1::TakeCheckpointResponse response;
    const grpc::Status status = stub_->TakeCheckpoint(call.context(), {}, &response);
    if (!status.ok()) return Failed(status);
    return response.at_least_step();
  }

  absl::Status Pause() override {
    Call call(*this, deadline_);
    v1::PauseResponse response;
    const grpc::Status status = stub_->Pause(call.context(), {}, &response);
    return status.ok() ? absl::OkStatus() : Failed(status);
  }

  absl::Status Resume() override {
    Call call(*this, deadline_);
    v1::ResumeResponse response;
    const grpc::Status status = stub_->Resume(call.context(), {}, &response);
    return status.ok() ? absl::OkStatus() : Failed(status);
  }

  absl::StatusOr<int64_t> Drain() override {
    Call call(*this, deadline_);
    v1::DrainResponse response;
    const grpc::Status status = stub_->Drain(call.context(), {}, &response);
    if (!status.ok()) return Failed(status);
    return response.at_least_step();
  }

  absl::StatusOr<Progress> GetProgress(int64_t from_step) override {
    Call call(*this, deadline_);
    v1::GetProgressRequest request;
    request.set_from_step(from_step);
    v1::GetProgressResponse response;
    const grpc::Status status = stub_->GetProgress(call.context(), request, &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    for (grpc::ClientContext* context : calls_) context->TryCancel();
  }

 private:
  // A call in progress, registered for Cancel.
  class Call {
   public:
    Call(GrpcCoordinatorStub& stub, absl::Duration deadline) : stub_(stub) {
      SetDeadline(context_, deadline);
      absl::MutexLock lock(&stub_.mutex_);
      stub_.calls_.insert(&context_);
      if (stub_.cancelled_) context_.TryCancel();
    }
    ~Call() {
      absl::MutexLock lock(&stub_.mutex_);
      stub_.calls_.erase(&context_);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    grpc::ClientContext* context() { return &context_; }

   private:
    GrpcCoordinatorStub& stub_;
    grpc::ClientContext context_;
  };

  absl::Status Failed(const grpc::Status& status) {
    absl::Status failure = FromGrpc(status);
    if (absl::IsUnavailable(failure)) ResetBackoff(*channel_);
    return ExplainUnavailable(failure, address_, credentials_);
  }

  const std::string address_;
  const absl::Duration deadline_;
  const std::shared_ptr<const ClientCredentials> credentials_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;

  absl::Mutex mutex_;
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

std::unique_ptr<CoordinatorStub> MakeCoordinatorStub(
    const std::string& address, absl::Duration deadline,
    std::shared_ptr<const ClientCredentials> credentials) {
  return std::make_unique<GrpcCoordinatorStub>(address, deadline, std::move(credentials));
}

}  // namespace percentdelta

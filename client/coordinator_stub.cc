#include "client/coordinator_stub.h"

#include <grpcpp/client_context.h>

#include <chrono>
#include <utility>

#include "client/wire.h"
#include "common/channel.h"
#include "common/grpc_status.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"

namespace percentdelta {
namespace {

class GrpcCoordinatorStub : public CoordinatorStub {
 public:
  GrpcCoordinatorStub(const std::string& address, absl::Duration deadline)
      : deadline_(deadline),
        channel_(MakeChannel(address)),
        stub_(v1::Coordinator::NewStub(channel_)) {}

  absl::StatusOr<ClusterJob> GetJob() override {
    grpc::ClientContext context;
    SetDeadline(context, deadline_);
    v1::GetJobResponse response;
    const grpc::Status status = stub_->GetJob(&context, {}, &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

  absl::StatusOr<Lease> AcquireLease(const WorkerIdentity& worker,
                                     absl::Duration max_wait) override {
    grpc::ClientContext context;
    SetDeadline(context, deadline_ + max_wait);
    v1::AcquireLeaseRequest request;
    request.set_worker(worker.name);
    request.set_arithmetic(worker.arithmetic);
    request.set_data(worker.data);
    request.set_max_wait_ms(absl::ToInt64Milliseconds(max_wait));
    v1::Lease response;
    const grpc::Status status = stub_->AcquireLease(&context, request, &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

  absl::StatusOr<Lease> CompleteLease(const LeaseResult& result) override {
    grpc::ClientContext context;
    SetDeadline(context, deadline_);
    v1::Lease response;
    const grpc::Status status = stub_->CompleteLease(&context, ToProto(result), &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

  absl::StatusOr<absl::Duration> RenewLease(const Lease& lease,
                                            const std::string& worker) override {
    grpc::ClientContext context;
    SetDeadline(context, deadline_);
    v1::RenewLeaseRequest request;
    request.set_generation(lease.generation);
    request.set_lease_id(lease.id);
    request.set_worker(worker);
    v1::RenewLeaseResponse response;
    const grpc::Status status = stub_->RenewLease(&context, request, &response);
    if (!status.ok()) return Failed(status);
    return absl::Milliseconds(response.deadline_ms());
  }

  absl::StatusOr<int64_t> TakeCheckpoint() override {
    grpc::ClientContext context;
    SetDeadline(context, deadline_);
    v1::TakeCheckpointResponse response;
    const grpc::Status status = stub_->TakeCheckpoint(&context, {}, &response);
    if (!status.ok()) return Failed(status);
    return response.at_least_step();
  }

  absl::StatusOr<Progress> GetProgress(int64_t from_step) override {
    grpc::ClientContext context;
    SetDeadline(context, deadline_);
    v1::GetProgressRequest request;
    request.set_from_step(from_step);
    v1::GetProgressResponse response;
    const grpc::Status status = stub_->GetProgress(&context, request, &response);
    if (!status.ok()) return Failed(status);
    return FromProto(response);
  }

 private:
  static void SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
  }

  absl::Status Failed(const grpc::Status& status) {
    absl::Status failure = FromGrpc(status);
    if (absl::IsUnavailable(failure)) ConnectAgain(*channel_);
    return failure;
  }

  const absl::Duration deadline_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
};

}  // namespace

std::unique_ptr<CoordinatorStub> MakeCoordinatorStub(const std::string& address,
                                                     absl::Duration deadline) {
  return std::make_unique<GrpcCoordinatorStub>(address, deadline);
}

}  // namespace percentdelta

#include "server/rpc/remote_coordinator.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "common/cluster/heartbeat_proto.h"
#include "common/transport/channel.h"
#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

// A coordinator on a slow path, or a busy one, takes seconds. Shutdown() does not wait for it.
constexpr auto kDeadline = std::chrono::seconds(5);

}  // namespace

RemoteCoordinator::RemoteCoordinator(const std::string& address, int shard_count)
    : shard_count_(shard_count),
      channel_(MakeChannel(address)),
      stub_(v1::Coordinator::NewStub(channel_)) {}

absl::StatusOr<ClusterView> RemoteCoordinator::Beat(const ShardBeat& beat) {
  v1::HeartbeatRequest request;
  ToProto(beat, request);
  v1::HeartbeatResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return absl::CancelledError("this shard is shutting down");
    context_ = &context;
  }
  const grpc::Status status = stub_->Heartbeat(&context, request, &response);
  {
    absl::MutexLock lock(&mutex_);
    context_ = nullptr;
  }
  if (!status.ok()) {
    absl::Status failure = FromGrpc(status);
    if (absl::IsUnavailable(failure)) ResetBackoff(*channel_);
    const bool is_final = absl::IsFailedPrecondition(failure) || absl::IsAlreadyExists(failure) ||
                          absl::IsInvalidArgument(failure);
    if (!is_final || context.GetServerTrailingMetadata().count(kRefusedKey) > 0) return failure;
    return absl::UnavailableError(
        absl::StrCat("something else answers than a coordinator: ", failure.message()));
  }
  return FromProto(response, shard_count_);
}

void RemoteCoordinator::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

}  // namespace percentdelta

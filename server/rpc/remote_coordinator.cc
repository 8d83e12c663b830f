// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/remote_coordinator.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/cluster/heartbeat_proto.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

// A busy coordinator, or one behind a slow network, takes seconds. CancelBeats() ends the wait.
constexpr absl::Duration kTimeout = absl::Seconds(5);

}  // namespace

RemoteCoordinator::RemoteCoordinator(const std::string& address, int shard_count,
                                     std::function<void()> beat_soon, Logger log,
                                     std::shared_ptr<const ClientCredentials> credentials)
    : address_(address),
      credentials_(std::move(credentials)),
      shard_count_(shard_count),
      beat_soon_(std::move(beat_soon)),
      channel_(MakeChannel(address, credentials_)),
      stub_(v1::Coordinator::NewStub(channel_)),
      reporter_(channel_, std::move(log)) {}

absl::StatusOr<ClusterView> RemoteCoordinator::Beat(const ShardBeat& beat) {
  v1::HeartbeatRequest request;
  ToProto(beat, request);
  v1::HeartbeatResponse response;
  grpc::ClientContext context;
  SetDeadline(context, kTimeout);
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
    if (!is_final) return ExplainUnavailable(failure, address_, credentials_);
    if (context.GetServerTrailingMetadata().count(kRefusedKey) > 0) return failure;
    return absl::UnavailableError(
        absl::StrCat("another service answers at the coordinator's address: ", failure.message()));
  }
  return FromProto(response, shard_count_);
}

void RemoteCoordinator::Gathered(uint64_t /*generation*/, int64_t /*steps*/) { beat_soon_(); }

void RemoteCoordinator::ReportStatistics(uint64_t generation, const TensorStatistics& statistics) {
  reporter_.Report(generation, statistics);
}

void RemoteCoordinator::ReportHistograms(uint64_t generation, SliceHistograms histograms) {
  reporter_.Report(generation, std::move(histograms));
}

void RemoteCoordinator::CancelBeats() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

void RemoteCoordinator::Close() {
  CancelBeats();
  reporter_.Close();
}

}  // namespace percentdelta

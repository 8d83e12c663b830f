#include "server/rpc/remote_coordinator.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "common/address.h"
#include "common/channel.h"
#include "common/grpc_status.h"
#include "server/wire.h"

namespace percentdelta {
namespace {

// A coordinator on a slow path, or a busy one, takes seconds. Shutdown() does not wait for it.
constexpr auto kDeadline = std::chrono::seconds(5);

absl::Status CheckResponse(const v1::HeartbeatResponse& response, int shard_count) {
  if (response.generation() == 0) return absl::OkStatus();
  if (response.shard_addresses_size() != shard_count) {
    return absl::DataLossError(absl::StrCat("the coordinator's answer: expected ", shard_count,
                                            " shards, got ", response.shard_addresses_size()));
  }
  for (const std::string& address : response.shard_addresses()) {
    const absl::Status status = CheckHostAndPort("the coordinator's answer", address);
    if (!status.ok()) return absl::DataLossError(status.message());
  }
  return absl::OkStatus();
}

}  // namespace

RemoteCoordinator::RemoteCoordinator(const std::string& address, int shard_count)
    : shard_count_(shard_count),
      channel_(MakeChannel(address)),
      stub_(v1::Coordinator::NewStub(channel_)) {}

absl::StatusOr<Coordinator::View> RemoteCoordinator::Beat(const ShardBeat& beat) {
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
    if (absl::IsUnavailable(failure)) ConnectAgain(*channel_);
    const bool is_final = absl::IsFailedPrecondition(failure) || absl::IsAlreadyExists(failure) ||
                          absl::IsInvalidArgument(failure);
    if (!is_final || context.GetServerTrailingMetadata().count(kRefusedKey) > 0) return failure;
    return absl::UnavailableError(
        absl::StrCat("something else answers than a coordinator: ", failure.message()));
  }
  if (absl::Status sense = CheckResponse(response, shard_count_); !sense.ok()) return sense;
  return Coordinator::View{response.generation(),
                           {response.shard_addresses().begin(), response.shard_addresses().end()},
                           {response.missing_shards().begin(), response.missing_shards().end()},
                           response.checkpoint_directory(),
                           response.checkpoint_step(),
                           response.message()};
}

void RemoteCoordinator::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

}  // namespace percentdelta

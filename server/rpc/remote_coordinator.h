// The coordinator as the other shards see it: over gRPC.

#ifndef PERCENTDELTA_SERVER_RPC_REMOTE_COORDINATOR_H_
#define PERCENTDELTA_SERVER_RPC_REMOTE_COORDINATOR_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/membership.h"

namespace percentdelta {

// Trailing metadata of a refusal, which tells the coordinator's from those of something else.
inline constexpr char kRefusedKey[] = "percentdelta-refused";

// Thread-safe; one beat at a time.
class RemoteCoordinator {
 public:
  RemoteCoordinator(const std::string& address, int shard_count);

  // Beats, and waits some seconds for the answer. kFailedPrecondition, kAlreadyExists and
  // kInvalidArgument are the coordinator's own, for good: what something else says with these codes
  // is kUnavailable. kDataLoss: an answer that makes no sense. Other codes pass.
  absl::StatusOr<ClusterView> Beat(const ShardBeat& beat);

  // Ends the beat under way and those to come with kCancelled.
  void Cancel();

 private:
  const int shard_count_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;  // of the beat under way
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REMOTE_COORDINATOR_H_

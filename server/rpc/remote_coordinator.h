// SPDX-License-Identifier: Apache-2.0

// The coordinator in another process, over gRPC.

#ifndef PERCENTDELTA_SERVER_RPC_REMOTE_COORDINATOR_H_
#define PERCENTDELTA_SERVER_RPC_REMOTE_COORDINATOR_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/log.h"
#include "common/transport/credentials.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "server/rpc/statistics_reporter.h"
#include "server/shard/shard_coordinator.h"

namespace percentdelta {

// Trailing metadata of the coordinator's refusals, which distinguishes them from errors of other
// services at its address.
inline constexpr char kRefusedKey[] = "percentdelta-refused";

// Thread-safe.
class RemoteCoordinator : public ShardCoordinator {
 public:
  // `beat_soon` is called when the next heartbeat has news, on any thread, under no lock; it must
  // not block. `credentials`: see MakeChannel.
  RemoteCoordinator(const std::string& address, int shard_count, std::function<void()> beat_soon,
                    Logger log, std::shared_ptr<const ClientCredentials> credentials = nullptr);

  // Waits a few seconds for the answer. The message of kUnavailable says what is wrong with TLS. An
  // answer of another service with the code of a refusal is kUnavailable. kDataLoss: an answer that
  // is malformed.
  absl::StatusOr<ClusterView> Beat(const ShardBeat& beat) override;

  void Gathered(uint64_t generation, int64_t steps) override;

  void ReportStatistics(uint64_t generation, const TensorStatistics& statistics) override;

  void ReportHistograms(uint64_t generation, SliceHistograms histograms) override;

  // Ends the beat in flight and later ones with kCancelled.
  void CancelBeats();

  // Cancels beats and reports, and returns when no callback of a report runs.
  void Close();

 private:
  const std::string address_;
  const std::shared_ptr<const ClientCredentials> credentials_;
  const int shard_count_;
  const std::function<void()> beat_soon_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;  // of the beat in flight

  StatisticsReporter reporter_;  // self-synchronised
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REMOTE_COORDINATOR_H_

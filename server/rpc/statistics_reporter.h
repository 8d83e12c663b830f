// SPDX-License-Identifier: Apache-2.0

// Sends a shard's statistics to a coordinator in another process: the client's side of
// Coordinator.ReportStatistics.

#ifndef PERCENTDELTA_SERVER_RPC_STATISTICS_REPORTER_H_
#define PERCENTDELTA_SERVER_RPC_STATISTICS_REPORTER_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/base/log.h"
#include "common/base/ticker.h"
#include "common/cluster/histogram.h"
#include "common/cluster/statistics.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"

namespace percentdelta {

// Thread-safe. Only Close() blocks.
class StatisticsReporter {
 public:
  // `channel` leads to the coordinator.
  StatisticsReporter(std::shared_ptr<grpc::Channel> channel, Logger log);
  ~StatisticsReporter();  // Close()

  // Sends the reports of a generation in the order of the calls, several in one request. Requests
  // that fail because the coordinator is away are repeated about every half second. Dropped are:
  // reports that the coordinator refuses, all that are pending when it says that their generation
  // has ended or when one of a newer generation comes, and those in excess of what is retained for
  // a coordinator that is away.
  void Report(uint64_t generation, const TensorStatistics& statistics);
  void Report(uint64_t generation, SliceHistograms histograms);

  // Ends the request in flight, drops what is pending, and returns when no callback runs. Must not
  // be called from one.
  void Close();

 private:
  struct Call;

  bool Takes(uint64_t generation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool StartCall() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fill(v1::ReportStatisticsRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendPending();
  void End(const Call& call, const absl::Status& status);
  void Retry();

  const Logger log_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;

  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;                         // of what is pending
  std::deque<SliceHistograms> pending_histograms_ ABSL_GUARDED_BY(mutex_);  // as `pending_`
  std::deque<TensorStatistics> pending_ ABSL_GUARDED_BY(mutex_);            // not acknowledged
  std::shared_ptr<Call> call_ ABSL_GUARDED_BY(mutex_);  // in flight, or to be repeated
  bool retry_ ABSL_GUARDED_BY(mutex_) = false;          // `call_` is to be repeated

  std::optional<Ticker> ticker_;  // until Close(); the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_STATISTICS_REPORTER_H_

// SPDX-License-Identifier: Apache-2.0

// A connection to a running cluster, for programs that observe a training from outside: pdctl,
// pd-local, tests. Workers also use the data path in client/pull.h and client/push.h.

#ifndef PERCENTDELTA_CLIENT_CLUSTER_H_
#define PERCENTDELTA_CLIENT_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/coordinator_stub.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"

namespace percentdelta {

// Selects statistics: one layer or all, and a range of steps.
struct StatisticsQuery {
  std::string layer;       // empty: all
  int32_t last = 0;        // the most recent steps; 0: the range below
  int64_t first_step = 0;  // inclusive
  int64_t last_step = 0;   // inclusive; 0: the newest
};

// The complete weights of one step.
struct Weights {
  int64_t step = 0;
  std::vector<std::vector<float>> values;  // one flat array per tensor, in the job's order
};

// Returns the SHA-256, in hexadecimal, of the little-endian float32 bytes of every tensor in the
// job's order: the fingerprint by which two runs are compared.
std::string ChecksumOf(const Weights& weights);

// Thread-safe. Each call blocks until it is answered, for at most `deadline`. If the server cannot
// be reached, it returns kUnavailable, with the server's address in the message.
class Cluster {
 public:
  struct Options {
    std::string coordinator;  // "host:port" of shard 0
    absl::Duration deadline = absl::Seconds(10);

    // Maps the "host:port" that a shard advertises to the one that reaches it from here, as with
    // published ports of containers. Shards that are absent are reached at their own address.
    std::map<std::string, std::string> connect_to = {};

    // Of this client: see MakeChannel in common/transport/channel.h.
    std::shared_ptr<const ClientCredentials> credentials = nullptr;
  };

  // Never fails: the first call connects.
  explicit Cluster(Options options);
  ~Cluster();

  absl::StatusOr<ClusterInfo> GetJob() const;

  absl::StatusOr<Progress> GetProgress(int64_t from_step = 0) const;

  // Requests a checkpoint as soon as possible, and returns the first step that it can be of.
  // Errors: see CoordinatorStub::TakeCheckpoint.
  absl::StatusOr<int64_t> TakeCheckpoint() const;

  // Stops giving out leases until Resume. What is in progress goes on.
  absl::Status Pause() const;

  // Ends a pause, or abandons a drain whose checkpoint is not complete.
  absl::Status Resume() const;

  // Ends the cluster: requests a checkpoint, of the step that is returned or a later one, after
  // which workers and servers end. GetProgress() reports kDraining, then kDrained.
  absl::StatusOr<int64_t> Drain() const;

  // Returns the steps in ascending order, or kNotFound if the job has no such layer.
  absl::StatusOr<std::vector<StepStatistics>> GetUpdateStatistics(
      const StatisticsQuery& query) const;

  // Calls `receive` for every step as it completes, until `receive` returns false or the training
  // ends (kOk), or the connection is lost (an error). `skipped` is the number of steps missed
  // before this one. Has no deadline.
  absl::Status WatchUpdateStatistics(
      const std::string& layer, int32_t last,
      const std::function<bool(const StepStatistics& step, int64_t skipped)>& receive) const;

  // Pulls the weights of one step from all shards; if `step` < 0, those of the newest complete
  // step. Returns kUnavailable while the cluster is still gathering its shards, and for a shard at
  // an address that the credentials do not allow.
  absl::StatusOr<Weights> PullWeights(const ClusterInfo& info, int64_t step = -1) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_CLUSTER_H_

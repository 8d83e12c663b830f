// A connection to a running cluster, for programs that look at a training from outside: pdctl,
// pd-local, tests. Workers use the data path in client/pull.h and client/push.h besides.

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

// Which statistics: one layer or all, and which steps.
struct StatisticsQuery {
  std::string layer;       // empty: all
  int32_t last = 0;        // the most recent steps; 0: the range below
  int64_t first_step = 0;  // inclusive
  int64_t last_step = 0;   // inclusive; 0: the newest
};

// The weights of one step, whole.
struct Weights {
  int64_t step = 0;
  std::vector<std::vector<float>> values;  // one flat array a tensor, in the job's order
};

// SHA-256, hexadecimal, over the little-endian float32 bytes of every tensor in the job's order:
// the fingerprint that two runs are compared by.
std::string ChecksumOf(const Weights& weights);

// Thread-safe. Calls block until answered, at most for `deadline` each; a server that cannot be
// reached gives kUnavailable with the address and what to do about it in the message.
class Cluster {
 public:
  struct Options {
    std::string coordinator;  // "host:port" of shard 0
    absl::Duration deadline = absl::Seconds(10);

    // Where to reach a shard whose own "host:port", the key, means nothing here: as with published
    // ports of containers.
    std::map<std::string, std::string> connect_to = {};
  };

  // Never fails: connecting happens with the first call.
  explicit Cluster(Options options);
  ~Cluster();

  absl::StatusOr<ClusterInfo> GetJob() const;

  absl::StatusOr<Progress> GetProgress(int64_t from_step = 0) const;

  // Wants a checkpoint; returns the step that it will be of, or of a later one. Errors:
  // CoordinatorStub::TakeCheckpoint.
  absl::StatusOr<int64_t> TakeCheckpoint() const;

  // Ascending steps. kNotFound: no such layer.
  absl::StatusOr<std::vector<StepStatistics>> GetUpdateStatistics(
      const StatisticsQuery& query) const;

  // Calls `receive` for every step as it happens until it returns false (kOk), the training ends
  // (kOk), or the connection is lost. `skipped` counts the steps missed before this one. Has no
  // deadline.
  absl::Status WatchUpdateStatistics(
      const std::string& layer, int32_t last,
      const std::function<bool(const StepStatistics& step, int64_t skipped)>& receive) const;

  // The weights of one step, from all shards, which must be gathered (else kUnavailable). `step`
  // < 0: the newest whole one.
  absl::StatusOr<Weights> PullWeights(const ClusterInfo& job, int64_t step = -1) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_CLUSTER_H_

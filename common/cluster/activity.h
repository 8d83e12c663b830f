// SPDX-License-Identifier: Apache-2.0

// Who does what in a cluster at this moment, and what has happened: what the live page shows
// besides the progress of the training.

#ifndef PERCENTDELTA_COMMON_CLUSTER_ACTIVITY_H_
#define PERCENTDELTA_COMMON_CLUSTER_ACTIVITY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/cluster/heartbeat.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"

namespace percentdelta {

struct ShardActivity {
  std::string address;                           // empty: missing
  absl::Duration silent = absl::ZeroDuration();  // since its last heartbeat
  bool entered = false;                          // the current generation
  int64_t gathered_steps = 0;                    // it has all gradients of steps below this one
  std::string problem;                           // that it reports
  std::optional<ShardLoad> load;                 // nullopt: it does not report any
};

// A lease that a worker holds.
struct HeldLease {
  std::string worker;
  Lease::Kind kind = Lease::Kind::kTrain;
  int64_t step = 0;
  int32_t slot = 0;
  absl::Duration held;  // since it was issued
  bool expired = false;
};

struct WorkerActivity {
  std::string name;
  absl::Duration present;           // since its first call
  absl::Duration silent;            // since its last call
  int64_t leases = 0;               // completed, since its first call
  double examples_per_second = 0;   // while it worked on the last leases; 0: not known
  std::optional<LeaseTimes> times;  // of its last training lease
  Transport transport = Transport::kUnknown;
  std::string suspended;           // why; empty: it is not
  std::optional<HeldLease> lease;  // the newest
};

// Something that happened, as an operator would want to know.
struct ClusterEvent {
  enum class Kind {
    kGeneration,  // one opened
    kShard,       // a shard came, went silent, or returned
    kWorker,      // a worker joined or left
    kFault,       // a lease expired or failed, a worker was suspended, a gradient was missing
    kCheckpoint,  // one is complete
    kCheckpointFailed,
    kPause,  // an operator paused the training
    kResume,
    kDrain,  // an operator asked for it, or it is complete or abandoned
    kEnd,    // the training finished or failed
  };
  int64_t id = 0;  // 1, 2, ...
  Kind kind = Kind::kGeneration;
  int64_t step = 0;   // the current one
  absl::Duration at;  // of the coordinator's clock
  std::string text;
};
absl::string_view ToString(ClusterEvent::Kind kind);  // "generation", "checkpoint-failed", ...

struct ClusterActivity {
  std::vector<ShardActivity> shards;    // by index
  std::vector<WorkerActivity> workers;  // by name
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_ACTIVITY_H_

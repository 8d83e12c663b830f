// SPDX-License-Identifier: Apache-2.0

// The cluster's coordinator, as a shard sees it. Implemented by server/local_coordinator.h for
// shard 0, by server/rpc/remote_coordinator.h for the others, and by tests.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_COORDINATOR_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_COORDINATOR_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/cluster/heartbeat.h"
#include "common/cluster/histogram.h"
#include "common/cluster/statistics.h"

namespace percentdelta {

// Implementations are thread-safe. They must outlive the shard's ClusterLink, its ShardStates, and
// the tasks that these have scheduled.
class ShardCoordinator {
 public:
  virtual ~ShardCoordinator() = default;

  // Sends a heartbeat and waits for the answer. One call at a time.
  //   kFailedPrecondition, kAlreadyExists, kInvalidArgument
  //           the coordinator refuses this shard; final
  //   others  transient
  virtual absl::StatusOr<ClusterView> Beat(const ShardBeat& beat) = 0;

  // Says that this shard has all gradients of the steps below `steps`. Must not block. Heartbeats
  // carry the same figure: this only makes it known sooner.
  virtual void Gathered(uint64_t generation, int64_t steps) = 0;

  // Reports what a step did to a tensor whose home is this shard, in the order of the calls. Must
  // not block. Best effort: reports of a generation that has ended are dropped.
  virtual void ReportStatistics(uint64_t generation, const TensorStatistics& statistics) = 0;

  // The same of the histograms of a slice of this shard. Those of a step come before this shard's
  // statistics of it.
  virtual void ReportHistograms(uint64_t generation, SliceHistograms histograms) = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_COORDINATOR_H_

#include "server/local_coordinator.h"

namespace percentdelta {

absl::StatusOr<ClusterView> LocalCoordinator::Beat(const ShardBeat& beat) {
  return coordinator_.Heartbeat(beat);
}

void LocalCoordinator::Gathered(uint64_t generation, int64_t steps) {
  coordinator_.Gathered(generation, shard_, steps);
}

void LocalCoordinator::ReportStatistics(uint64_t generation, const TensorStatistics& statistics) {
  // Refused once a newer generation has been opened, which is as it should be.
  coordinator_.ReportStatistics(generation, {statistics}).IgnoreError();
}

}  // namespace percentdelta

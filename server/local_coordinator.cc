// SPDX-License-Identifier: Apache-2.0

#include "server/local_coordinator.h"

namespace percentdelta {

absl::StatusOr<ClusterView> LocalCoordinator::Beat(const ShardBeat& beat) {
  return coordinator_.Heartbeat(beat);
}

void LocalCoordinator::Gathered(uint64_t generation, int64_t steps) {
  coordinator_.Gathered(generation, shard_, steps);
}

void LocalCoordinator::ReportStatistics(uint64_t generation, const TensorStatistics& statistics) {
  // An error means that a newer generation is open; the report is dropped, as intended.
  coordinator_.ReportStatistics(generation, {statistics}).IgnoreError();
}

void LocalCoordinator::ReportHistograms(uint64_t generation, SliceHistograms histograms) {
  coordinator_.ReportHistograms(generation, histograms).IgnoreError();  // as above
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// The coordinator in the shard's own process, which is shard 0: plain calls.

#ifndef PERCENTDELTA_SERVER_LOCAL_COORDINATOR_H_
#define PERCENTDELTA_SERVER_LOCAL_COORDINATOR_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/coordinator/coordinator.h"
#include "server/shard/shard_coordinator.h"

namespace percentdelta {

// Thread-safe.
class LocalCoordinator : public ShardCoordinator {
 public:
  // `coordinator` must outlive this.
  LocalCoordinator(Coordinator& coordinator, int shard)
      : coordinator_(coordinator), shard_(shard) {}

  absl::StatusOr<ClusterView> Beat(const ShardBeat& beat) override;
  void Gathered(uint64_t generation, int64_t steps) override;
  void ReportStatistics(uint64_t generation, const TensorStatistics& statistics) override;
  void ReportHistograms(uint64_t generation, SliceHistograms histograms) override;

 private:
  Coordinator& coordinator_;
  const int shard_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_LOCAL_COORDINATOR_H_

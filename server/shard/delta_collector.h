// SPDX-License-Identifier: Apache-2.0

// The home's side of ||delta||_1 of split tensors, for the statistics of rules that sum it while
// they apply the delta: collects how much the slices' blocks changed. Nothing waits for it: a slice
// is published first, and may be steps ahead when its sums arrive.

#ifndef PERCENTDELTA_SERVER_SHARD_DELTA_COLLECTOR_H_
#define PERCENTDELTA_SERVER_SHARD_DELTA_COLLECTOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/shard/block_sums.h"

namespace percentdelta {

// Gets ||delta||_1 of a whole tensor: the block sums added in block order.
using DeltaCallback = std::function<void(double delta_l1)>;

// Thread-safe. Callbacks run under no lock, on the thread of the caller that completes the step.
class DeltaCollector {
 public:
  // For the tensors whose home is `shard`, from `first_step` on. Model and partition must outlive
  // the collector.
  DeltaCollector(const ModelSpec& model, const Partition& partition, int shard, int64_t first_step);

  // Takes the sums of the home's own slice and the callback of the step. Once a step.
  void Open(const DeltaSums& sums, DeltaCallback done);

  // Takes another shard's sums, before or after Open. Sums that were taken before, or whose step
  // was given up, change nothing and are not an error.
  //   kFailedPrecondition  another shard is the tensor's home, or the step is after `current`, that
  //                        of the home's own slice
  //   kInvalidArgument     not the blocks of a slice; negative sums
  absl::Status Contribute(const DeltaSums& sums, int64_t current);

 private:
  struct Collection {
    SumsInBlockOrder<double> sums;
    DeltaCallback done;     // null: not opened
    bool complete = false;  // then the rest is unused
  };
  struct Tensor {
    int64_t past = 0;                    // steps below are done, or given up
    std::map<int64_t, Collection> open;  // by step, none below `past`
  };

  void Add(const DeltaSums& sums, DeltaCallback done);

  const ModelSpec& model_;
  const Partition& partition_;
  const int shard_;

  absl::Mutex mutex_;
  std::vector<Tensor> tensors_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_DELTA_COLLECTOR_H_

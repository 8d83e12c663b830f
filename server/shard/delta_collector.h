// The home's side of ||delta||_1 of split tensors, for the statistics of rules whose delta is no
// multiple of the gradient: collects what the slices' blocks were changed by. Nothing waits for it:
// a slice is published first, and may be steps ahead when its sums arrive.

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

namespace percentdelta {

// What a step changed a slice of a split tensor by: sum |delta| of each of its blocks, in order.
struct DeltaSums {
  int tensor = 0;
  int64_t step = 0;
  int64_t first_block = 0;
  std::vector<double> blocks;
};

// Gets ||delta||_1 of a whole tensor: the block sums added in block order.
using DeltaCallback = std::function<void(double delta_l1)>;

// Thread-safe. Callbacks run under no lock, on the thread of whoever gave the last part.
class DeltaCollector {
 public:
  // For the tensors whose home is `shard`, from `first_step` on. Model and partition must outlive
  // the collector.
  DeltaCollector(const ModelSpec& model, const Partition& partition, int shard, int64_t first_step);

  // Takes the home's own slice, and with it who wants to know of the step. Once a step.
  void Open(const DeltaSums& sums, DeltaCallback done);

  // Takes another shard's slice, before or after Open. What was taken before, or is of a step long
  // past, changes nothing and is no error.
  //   kFailedPrecondition  another shard is the tensor's home, or the step is after `present`,
  //                        that of the home's own slice
  //   kInvalidArgument     not the blocks of a slice; negative sums
  absl::Status Contribute(const DeltaSums& sums, int64_t present);

 private:
  struct Collection {
    std::map<int64_t, std::vector<double>> parts;  // by first block
    DeltaCallback done;                            // null: not opened
    bool complete = false;                         // then it is only a mark
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

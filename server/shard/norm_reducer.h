// SPDX-License-Identifier: Apache-2.0

// The home's side of the norms of split tensors: collects the slices' block sums, adds them in
// block order, and answers every slice's shard.

#ifndef PERCENTDELTA_SERVER_SHARD_NORM_REDUCER_H_
#define PERCENTDELTA_SERVER_SHARD_NORM_REDUCER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/shard/block_sums.h"
#include "server/update/norms.h"

namespace percentdelta {

template <typename Sum>
using ReductionCallback = std::function<void(absl::StatusOr<Sum>)>;

// Thread-safe. Callbacks run under no lock, on the thread of the caller that completes the step.
template <typename Sum>
class Reducer {
 public:
  // For the tensors whose home is `shard`, from `first_step` on. Model and partition must outlive
  // the reducer.
  Reducer(const ModelSpec& model, const Partition& partition, int shard, int64_t first_step = 0);

  // Takes a slice's sums; `done` gets the sums of the whole tensor when every slice's are there.
  // Repeated sums change nothing, and are answered all the same, also when their step is the last
  // one that was completed. `done` is called exactly once, errors included:
  //   kFailedPrecondition  another shard is the tensor's home; the step is not the current one
  //   kInvalidArgument     not the blocks of a slice; negative sums
  void Contribute(const SliceSums<Sum>& sums, ReductionCallback<Sum> done);

  // Answers all that wait, and all that come later, with the reason.
  void Close(const absl::Status& reason);

 private:
  struct Collection {
    int64_t step = 0;  // being collected
    SumsInBlockOrder<Sum> sums;
    std::vector<ReductionCallback<Sum>> waiting;
    Sum last{};  // of step - 1
  };

  const ModelSpec& model_;
  const Partition& partition_;
  const int shard_;
  const int64_t first_step_;

  absl::Mutex mutex_;
  std::vector<Collection> collections_ ABSL_GUARDED_BY(mutex_);  // by tensor
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
};

// Of phase 1 and of the proposal (server/update/optimizer.h).
using NormReducer = Reducer<NormSums>;
using DeltaNormReducer = Reducer<DeltaNorms>;
using NormsCallback = ReductionCallback<NormSums>;
using DeltaNormsCallback = ReductionCallback<DeltaNorms>;

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_NORM_REDUCER_H_

// The home's side of the norms of split tensors: collects the slices' block sums, adds them in
// block order, and tells everybody who gave some.

#ifndef PERCENTDELTA_SERVER_SHARD_NORM_REDUCER_H_
#define PERCENTDELTA_SERVER_SHARD_NORM_REDUCER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/update/norms.h"

namespace percentdelta {

// What a shard knows of the norms of a split tensor: those of its own slice's blocks, in order.
struct BlockSums {
  int tensor = 0;
  int64_t step = 0;
  int64_t first_block = 0;
  std::vector<NormSums> blocks;
};

using NormsCallback = std::function<void(absl::StatusOr<NormSums>)>;

// Thread-safe. Callbacks run under no lock, on the thread of whoever gave the last part.
class NormReducer {
 public:
  // For the tensors whose home is `shard`, from `first_step` on. Model and partition must outlive
  // the reducer.
  NormReducer(const ModelSpec& model, const Partition& partition, int shard,
              int64_t first_step = 0);

  // Takes a slice's sums; `done` gets the norms of the whole tensor when every slice's are there.
  // A repeated part changes nothing, and is answered all the same, also when its step has just
  // been completed. `done` is called exactly once, errors included:
  //   kFailedPrecondition  another shard is the tensor's home; the step is not the present one
  //   kInvalidArgument     not the blocks of a slice; negative sums
  void Contribute(const BlockSums& sums, NormsCallback done);

  // Answers all that wait, and all that come later, with the reason.
  void Close(const absl::Status& reason);

 private:
  struct Collection {
    int64_t step = 0;                                // being collected
    std::map<int64_t, std::vector<NormSums>> parts;  // by first block
    std::vector<NormsCallback> waiting;
    NormSums last;  // of step - 1
  };

  absl::Status Check(const BlockSums& sums) const;

  const ModelSpec& model_;
  const Partition& partition_;
  const int shard_;
  const int64_t first_step_;

  absl::Mutex mutex_;
  std::vector<Collection> collections_ ABSL_GUARDED_BY(mutex_);  // by tensor
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_NORM_REDUCER_H_

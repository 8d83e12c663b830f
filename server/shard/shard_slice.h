// One slice of a tensor on its shard: the weights of its present step, the gradients staged for
// the next one, and the pulls that wait for it.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_SLICE_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_SLICE_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/checkpoint/slice_content.h"
#include "server/shard/buffer_pool.h"

namespace percentdelta {

// A slice's weights at a step. Published: nobody writes to the values any more.
struct Snapshot {
  TensorRange range;
  int64_t step = 0;
  std::shared_ptr<const std::vector<float>> values;
};

// A pull, as the slices see it. Thread-safe; called under no lock, and must not block.
class PullSink {
 public:
  virtual ~PullSink() = default;
  virtual void Deliver(Snapshot snapshot) = 0;

  // No more will come, for the reason given.
  virtual void End(absl::Status reason) = 0;
};

// Thread-safe. The life of a step:
//   Stage for each slot, in any order; exactly one caller is told kComplete.
//   StartAdding after each Stage; a caller that gets true is the adder: it calls TakeRun and adds
//   what it gets to sum(), until it gets nothing or the last slot's gradient.
//   The adder that gets the last slot's gradient owns the update: state, Publish.
// So gradients are added in slot order while others are still to come, and only those that came
// before their turn are held.
class ShardSlice {
 public:
  // At step 0 with the job's initial weights. `job` must outlive the slice.
  ShardSlice(const Job& job, const TensorRange& range);

  // At `step` with what a checkpoint kept of it.
  ShardSlice(const Job& job, int64_t step, SliceContent content);

  const TensorRange& range() const { return range_; }

  // A buffer of the slice's size, contents undefined.
  Buffer TakeBuffer() { return buffers_.Take(); }

  enum class StageResult {
    kStaged,
    kDuplicate,  // there before, or applied before: dropped
    kComplete,   // staged, and it was the last one of the step
  };

  // kFailedPrecondition: the slice has not reached `step`. `slot` must be of the job. `keep`: the
  // weights that this step leads to are to become a checkpoint's.
  absl::StatusOr<StageResult> Stage(int64_t step, int32_t slot, Buffer gradient, bool keep = false);

  // Whether the gradient is staged or applied.
  bool Has(int64_t step, int32_t slot) const;

  // All gradients of the steps below this one are here.
  int64_t gathered_steps() const;

  // Whether the next slot's gradient is there and no adder is at work; then the caller is the
  // adder. There is never more than one.
  bool StartAdding();

  // The gradients of the next slots without a gap.
  struct Run {
    std::vector<Buffer> gradients;  // in slot order
    bool first = false;             // begins with slot 0
    bool last = false;              // ends with the step's last slot
  };

  // Of the adder alone. An empty run: the next slot's gradient has not come, and the caller is the
  // adder no longer.
  Run TakeRun();

  // Of the adder alone: the sum of the gradients of the runs before, with one value for each entry
  // of the slice; undefined before the first run. Jobs of one slot have no use for it: it is
  // allocated by the first call.
  absl::Span<double> sum();

  // Whether any gradient of the present step came with `keep`, for the update's owner.
  bool keeps() const;

  // Of the update's owner alone: what the update keeps, an array for each of StateNames(job), in
  // their order, with one value for each entry of the slice.
  absl::Span<std::vector<float>> state() { return absl::MakeSpan(state_); }

  // Ends the present step with new weights. Hands them to the pulls that wait for them.
  void Publish(Buffer next);

  Snapshot present() const;

  const BufferPool& buffers() const { return buffers_; }

  // Delivers the snapshot of exactly `step`, now or when it is published; a sink that is gone by
  // then is skipped. kFailedPrecondition: the step is past and not retained. Retained are, beside
  // the present one,
  //   the step before: the worker that pushed its last gradient may have died before it could say
  //   so, and then somebody computes that gradient, and its loss, once more;
  //   the last step at which the job evaluates.
  absl::Status Await(int64_t step, const std::shared_ptr<PullSink>& sink);

  // Ends all pulls that wait, and those that would wait later.
  void Close(const absl::Status& reason);

 private:
  ShardSlice(const Job& job, const TensorRange& range, int64_t step);

  struct Waiter {
    int64_t step;
    std::weak_ptr<PullSink> sink;
  };

  const Job& job_;
  const TensorRange range_;
  BufferPool buffers_;                     // self-synchronised
  std::vector<std::vector<float>> state_;  // of the update's owner
  std::vector<double> sum_;                // of the adder

  mutable absl::Mutex mutex_;
  Snapshot present_ ABSL_GUARDED_BY(mutex_);
  Snapshot before_ ABSL_GUARDED_BY(mutex_);             // values may be null
  Snapshot evaluated_ ABSL_GUARDED_BY(mutex_);          // values may be null
  std::vector<Buffer> staged_ ABSL_GUARDED_BY(mutex_);  // by slot; null: not there, or taken
  std::vector<bool> seen_ ABSL_GUARDED_BY(mutex_);      // by slot; stays set during the update
  int32_t staged_count_ ABSL_GUARDED_BY(mutex_) = 0;    // of seen_
  int32_t taken_count_ ABSL_GUARDED_BY(mutex_) = 0;     // slots below it were given to an adder
  bool adding_ ABSL_GUARDED_BY(mutex_) = false;         // until the step's update has ended
  bool keeps_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_SLICE_H_

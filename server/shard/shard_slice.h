// SPDX-License-Identifier: Apache-2.0

// One slice of a tensor on its shard: the weights of its current step, the gradients staged for the
// next one, and the pulls that wait for it.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_SLICE_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_SLICE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/checkpoint/slice_content.h"
#include "server/shard/buffer_pool.h"
#include "server/shard/snapshot.h"

namespace percentdelta {

// Thread-safe. The life of a step:
//   Stage for each slot, in any order; it returns kComplete to exactly one caller.
//   StartAdding after each Stage; a caller that gets true is the adder: it calls TakeRun and adds
//   what it gets to sum(), until it gets nothing or the last slot's gradient.
//   The adder that gets the last slot's gradient owns the update: optimizer_state, Publish.
// So gradients are added in slot order while others are still to come, and only those that came
// before their turn are held.
class ShardSlice {
 public:
  // At step 0 with the job's initial weights. `job` must outlive the slice.
  ShardSlice(const Job& job, const TensorRange& range);

  // At `step` with the content that a checkpoint holds of it.
  ShardSlice(const Job& job, int64_t step, SliceContent content);

  const TensorRange& range() const { return range_; }

  // Returns a buffer of the slice's size, contents undefined.
  Buffer TakeBuffer() { return buffers_.Take(); }
  Buffer TakeEmptyBuffer() { return buffers_.TakeEmpty(); }  // with room, but maybe no entries

  enum class StageResult {
    kStaged,
    kDuplicate,  // staged or applied before: dropped
    kComplete,   // staged as the last one of the step
  };

  // Stages the gradient of a slot, which must be one of the job's. `for_checkpoint`: the weights
  // that this step leads to are to become a checkpoint's. kFailedPrecondition: the slice has not
  // reached `step`.
  absl::StatusOr<StageResult> Stage(int64_t step, int32_t slot, Buffer gradient,
                                    bool for_checkpoint = false);

  // Whether the gradient is staged or applied.
  bool Has(int64_t step, int32_t slot) const;

  // The number of steps, from the first one on, of which all gradients are here.
  int64_t gathered_steps() const;

  // Returns true, and makes the caller the adder, if the next slot's gradient is there and there is
  // no adder. There is never more than one.
  bool StartAdding();

  // The gradients of the next slots without a gap.
  struct Run {
    std::vector<Buffer> gradients;  // in slot order
    bool first = false;             // begins with slot 0
    bool last = false;              // ends with the step's last slot
  };

  // For the adder. An empty run: the next slot's gradient has not come, and the caller is not the
  // adder any more.
  Run TakeRun();

  // For the adder: the sum of the gradients of the runs before, with one value for each entry of
  // the slice; undefined before the first run. Allocated by the first call, which jobs of one slot
  // never make.
  absl::Span<double> sum();

  // For the update's owner: whether a gradient of the current step was staged for a checkpoint.
  bool for_checkpoint() const;

  // For the update's owner: the arrays of StateNames(job, tensor), in their order, each with one
  // value for each entry of the slice.
  absl::Span<std::vector<float>> optimizer_state() { return absl::MakeSpan(optimizer_state_); }

  // Ends the current step with new weights. Hands them to the pulls that wait for them.
  void Publish(Buffer next);

  Snapshot current() const;

  // Time since the current weights were published.
  absl::Duration age() const;

  const BufferPool& buffers() const { return buffers_; }

  // Delivers the snapshot of exactly `step`, now or when it is published; skips a sink that is gone
  // by then. kFailedPrecondition: the step is past and not retained. Retained are, besides the
  // current one,
  //   the previous step: the worker that pushed its last gradient may have died before it could
  //   report, and then that gradient, and its loss, are computed once more;
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
  BufferPool buffers_;                               // self-synchronised
  std::vector<std::vector<float>> optimizer_state_;  // of the update's owner
  std::vector<double> sum_;                          // of the adder

  mutable absl::Mutex mutex_;
  Snapshot current_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point published_ ABSL_GUARDED_BY(mutex_) =
      std::chrono::steady_clock::now();
  Snapshot previous_ ABSL_GUARDED_BY(mutex_);           // values may be null
  Snapshot evaluated_ ABSL_GUARDED_BY(mutex_);          // values may be null
  std::vector<Buffer> staged_ ABSL_GUARDED_BY(mutex_);  // by slot; null: not there, or taken
  std::vector<bool> seen_ ABSL_GUARDED_BY(mutex_);      // by slot; stays set during the update
  int32_t staged_count_ ABSL_GUARDED_BY(mutex_) = 0;    // of seen_
  int32_t taken_count_ ABSL_GUARDED_BY(mutex_) = 0;     // slots below it were given to an adder
  bool adding_ ABSL_GUARDED_BY(mutex_) = false;         // until the step's update has ended
  bool for_checkpoint_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_SLICE_H_

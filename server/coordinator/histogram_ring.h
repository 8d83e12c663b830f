// SPDX-License-Identifier: Apache-2.0

// Histograms of whole tensors, added up from those of the slices, until they are written for
// TensorBoard.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_HISTOGRAM_RING_H_
#define PERCENTDELTA_SERVER_COORDINATOR_HISTOGRAM_RING_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/cluster/histogram.h"
#include "common/job/job.h"
#include "common/job/partition.h"

namespace percentdelta {

struct TensorHistograms {
  std::string tensor;
  Histogram weights;
  Histogram gradient;
};

// Of all trained tensors in one step, in the job's order.
struct StepHistograms {
  int64_t step = 0;
  std::vector<TensorHistograms> tensors;
};

// Thread-safe. A step is complete, and visible, once every slice's histograms are in.
class HistogramRing {
 public:
  // Of the steps that are multiples of `every_steps`; 0: of none. `job` must outlive the ring.
  HistogramRing(const Job& job, int shard_count, int64_t every_steps);

  int64_t every_steps() const { return every_steps_; }

  // Starts a generation at `step`, and takes histograms of this generation only. Complete steps
  // before it that are not written stay: their histograms will not come again.
  void Begin(uint64_t generation, int64_t step);

  // Takes a slice's histograms; drops them if they are there, or are written.
  //   kFailedPrecondition  another generation than the current one
  //   kNotFound            no such tensor in the job
  //   kInvalidArgument     a step or a slice that the job and the cluster do not have, or not as
  //                        many entries as the slice has
  absl::Status Add(uint64_t generation, const SliceHistograms& histograms);

  // The complete steps that are not written, ascending.
  std::vector<StepHistograms> Complete() const;

  // The first step whose histograms are still to come. The largest number: none.
  int64_t missing() const;

  // Everything of the steps below is written. No effect in another generation.
  void SetWritten(uint64_t generation, int64_t step);
  bool IsWrittenBefore(int64_t step) const;

  // Complete steps that were dropped since the start because too much was not written.
  int64_t dropped() const;

 private:
  struct Row {
    std::map<int, TensorHistograms> tensors;   // by index in the model
    std::set<std::pair<int, int64_t>> slices;  // that are in: tensor and first entry
    size_t buckets = 0;                        // of all of its histograms, about
  };

  absl::Status Check(int tensor, const SliceHistograms& histograms) const;
  int64_t FirstDue(int64_t step) const;
  void DropOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsComplete(const Row& row) const { return row.slices.size() == slices_; }

  const Job& job_;
  const Partition partition_;
  const int64_t every_steps_;
  const size_t slices_;  // of trained tensors

  mutable absl::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Row> rows_ ABSL_GUARDED_BY(mutex_);  // by step
  size_t buckets_ ABSL_GUARDED_BY(mutex_) = 0;           // of all rows
  int64_t written_ ABSL_GUARDED_BY(mutex_) = 0;          // steps below are
  int64_t expected_ ABSL_GUARDED_BY(mutex_) = 0;         // no other below it will come
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_HISTOGRAM_RING_H_

// SPDX-License-Identifier: Apache-2.0

// The most recent steps' update statistics, for queries and for watchers.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_STATISTICS_RING_H_
#define PERCENTDELTA_SERVER_COORDINATOR_STATISTICS_RING_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"

namespace percentdelta {

// Is called when there are new statistics, or no more. Thread-safe; called under no lock of the
// ring.
class StatisticsListener {
 public:
  virtual ~StatisticsListener() = default;
  virtual void Changed() = 0;
};

// Thread-safe. A step is complete, and visible, once the updates of all trained tensors are in. The
// oldest steps beyond the capacity are dropped. Takes nothing before the first Begin().
class StatisticsRing {
 public:
  // `job` must outlive the ring. `capacity` >= 1, in steps.
  StatisticsRing(const Job& job, int64_t capacity);

  // Starts a generation at `step`: drops everything but `restored`, the statistics of steps before
  // it, and takes updates of this generation only. Listeners stay.
  void Begin(uint64_t generation, int64_t step = 0,
             const std::vector<StepStatistics>& restored = {});

  // Whether all steps before `step` are complete, as far back as the capacity and what was restored
  // reach.
  bool IsCompleteBefore(int64_t step) const;

  // Takes a tensor's update of a step; drops it if there is one already. The job's last step ends
  // the ring with OK once no step before it is missing.
  //   kFailedPrecondition  another generation than the current one
  //   kNotFound            no such tensor in the job
  //   kInvalidArgument     no such step in the job; the tensor is a buffer
  absl::Status Add(uint64_t generation, const TensorStatistics& update);

  // kNotFound, listing the layers that are trained, unless `layer` is one of them or empty.
  absl::Status CheckLayer(const std::string& layer) const;

  // The complete steps of first..last, ascending: one layer's tensors, or all if `layer` is empty.
  std::vector<StepStatistics> Range(int64_t first, int64_t last, const std::string& layer) const;

  // The oldest and the newest complete step; -1 if there is none.
  int64_t oldest() const;
  int64_t newest() const;

  // Ends the statistics of this generation (0: before the first one) for this reason, and notifies
  // the listeners. No effect if they have ended already or if the generation is not the current
  // one.
  void End(uint64_t generation, const absl::Status& reason);
  std::optional<absl::Status> ended() const;

  // Notifies the listener of every change from now on, for as long as it lives.
  void Listen(std::weak_ptr<StatisticsListener> listener);

 private:
  struct Row {
    std::vector<TensorStatistics> updates;  // of `trained_`
    size_t count = 0;                       // of the updates that are in
  };

  bool IsComplete(const Row& row) const { return row.count == trained_.size(); }
  bool IsCompleteBeforeLocked(int64_t step) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void Notify();

  const Job& job_;
  const ModelSpec& model_;          // the job's
  const std::vector<int> trained_;  // the tensors that are not buffers, ascending
  const int64_t capacity_;

  mutable absl::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Row> rows_ ABSL_GUARDED_BY(mutex_);  // by step
  int64_t newest_ ABSL_GUARDED_BY(mutex_) = -1;
  int64_t first_ ABSL_GUARDED_BY(mutex_) = 0;  // the oldest step that there can be
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<StatisticsListener>> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_STATISTICS_RING_H_

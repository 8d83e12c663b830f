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

// Somebody who wants to hear that there is more. Thread-safe; called under no lock of the ring.
class StatisticsListener {
 public:
  virtual ~StatisticsListener() = default;
  virtual void Changed() = 0;
};

// Thread-safe. A step counts once the updates of all tensors are in; the oldest steps beyond the
// capacity are forgotten. Takes nothing before the first Begin.
class StatisticsRing {
 public:
  // `job` must outlive the ring. `capacity` >= 1, in steps.
  StatisticsRing(const Job& job, int64_t capacity);

  // Forgets everything but what is `known` of the steps before `step`, and takes the updates of
  // this generation, which begins there, from now on. Whoever listens goes on listening.
  void Begin(uint64_t generation, int64_t step = 0, const std::vector<StepStatistics>& known = {});

  // Whether all steps before `step` are whole, as far back as capacity and knowledge go.
  bool WholeBefore(int64_t step) const;

  // Takes a tensor's update of a step; one that is there already is dropped. The job's last step
  // ends the ring with OK, once no step before it is missing.
  //   kFailedPrecondition  another generation than the present one
  //   kNotFound            no such tensor
  //   kInvalidArgument     a step that the job has not
  absl::Status Add(uint64_t generation, const TensorStatistics& update);

  // Whether the layer has tensors. kNotFound: it has not; the message lists those there are.
  absl::Status CheckLayer(const std::string& layer) const;

  // Whole steps first..last in ascending order, of one layer's tensors or (empty) of all.
  std::vector<StepStatistics> Range(int64_t first, int64_t last, const std::string& layer) const;

  // Oldest and newest whole step; -1 when there is none.
  int64_t oldest() const;
  int64_t newest() const;

  // Says that no more will come of this generation (0: of none yet), and why; listeners are told.
  // The first reason counts. Nothing happens if the generation is not the present one.
  void End(uint64_t generation, const absl::Status& reason);
  std::optional<absl::Status> ended() const;

  // The listener is told of every change from now on, for as long as it lives.
  void Listen(std::weak_ptr<StatisticsListener> listener);

 private:
  struct Row {
    std::vector<TensorStatistics> updates;  // by tensor
    size_t present = 0;
  };

  bool WholeBeforeLocked(int64_t step) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void Notify();

  const Job& job_;
  const ModelSpec& model_;  // the job's
  const int64_t capacity_;

  mutable absl::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Row> rows_ ABSL_GUARDED_BY(mutex_);  // by step
  int64_t newest_ ABSL_GUARDED_BY(mutex_) = -1;
  int64_t first_ ABSL_GUARDED_BY(mutex_) = 0;  // the oldest step that can be there
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<StatisticsListener>> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_STATISTICS_RING_H_

// SPDX-License-Identifier: Apache-2.0

// Which events a training leads to: each step's numbers exactly once, whatever restarts and new
// generations do. A state machine without files, locks or clocks.
//
// In one generation events are appended. When another opens, at step S, an event START says that
// what was written of step F and later ones is void: F is S, or the first step whose numbers a
// crash lost before they were written, if the history that was restored still has them. Then
// everything from F on is written again, but histograms of steps before S: they are in no history.
// F is S where they are, because no checkpoint is complete before what precedes it is written
// (server/coordinator/histogram_ring.h).

#ifndef PERCENTDELTA_SERVER_TENSORBOARD_TRAINING_EVENTS_H_
#define PERCENTDELTA_SERVER_TENSORBOARD_TRAINING_EVENTS_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"
#include "server/coordinator/histogram_ring.h"
#include "tensorboard/event.pb.h"

namespace percentdelta {

// What is known of a training.
struct TrainingSnapshot {
  uint64_t generation = 0;
  int64_t first_step = 0;               // of the generation
  std::vector<ProgressPoint> training;  // ascending steps, each from where() on
  std::vector<ProgressPoint> evaluations;
  std::vector<StepStatistics> statistics;
  std::vector<StepHistograms> histograms;
};

// Not thread-safe.
class TrainingEvents {
 public:
  using Sink = absl::FunctionRef<void(const tensorboard::Event& event)>;

  // `job` must outlive it.
  explicit TrainingEvents(const Job& job) : job_(job) {}

  // Takes an event that an earlier process wrote; call it for each, in order.
  void Restore(const tensorboard::Event& event);

  // The first steps that are not written, of each kind. All 0 for another generation than that of
  // the last call of Add().
  struct Position {
    int64_t training = 0;
    int64_t evaluations = 0;
    int64_t statistics = 0;
  };
  Position where(uint64_t generation) const;

  // Everything of the steps below is written, but histograms.
  int64_t written() const { return std::min(training_.end(), statistics_.end()); }

  // Writes what is new in a snapshot that begins at where(its generation).
  void Add(const TrainingSnapshot& snapshot, absl::Time now, Sink sink);

 private:
  // Steps of one kind that are written.
  class Steps {
   public:
    bool Has(int64_t step) const { return step < prefix_ || others_.count(step) > 0; }
    void Add(int64_t step);
    void EraseFrom(int64_t step);
    int64_t prefix() const { return prefix_; }  // all steps below are written
    int64_t end() const { return others_.empty() ? prefix_ : *others_.rbegin() + 1; }
    bool empty() const { return prefix_ == 0 && others_.empty(); }

   private:
    int64_t prefix_ = 0;
    std::set<int64_t> others_;
  };

  void Begin(const TrainingSnapshot& snapshot, absl::Time now, Sink sink);
  void WriteJob(absl::Time now, Sink sink);
  void EraseFrom(int64_t step);
  void WritePoint(absl::string_view set, const ProgressPoint& point, absl::Time now, Sink sink);

  const Job& job_;
  std::optional<uint64_t> generation_;
  Steps training_;
  Steps evaluations_;
  Steps statistics_;
  std::set<int64_t> histograms_;  // steps
  bool job_written_ = false;
  std::optional<ProgressPoint> previous_;  // the training point written last
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_TENSORBOARD_TRAINING_EVENTS_H_

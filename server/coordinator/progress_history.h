// SPDX-License-Identifier: Apache-2.0

// What a training has reached: the points of its curves, the rate of work, and where the workers'
// time goes. A state machine without locks, clocks or I/O.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_PROGRESS_HISTORY_H_
#define PERCENTDELTA_SERVER_COORDINATOR_PROGRESS_HISTORY_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "common/cluster/progress.h"

namespace percentdelta {

// Not thread-safe.
class ProgressHistory {
 public:
  // Of each curve, as they are on the wire: older points lose their metrics.
  static constexpr size_t kMaxMetricBytes = 1 << 20;

  // Retains at most `capacity` points of each curve.
  explicit ProgressHistory(size_t capacity) : capacity_(capacity) {}

  void AddTraining(const ProgressPoint& point) { Append(training_, point); }
  void AddEvaluation(const ProgressPoint& point) { Append(evaluations_, point); }

  // A completed training lease: its examples, and where its time went.
  void AddLease(int64_t examples, const LeaseTimes& times, absl::Duration now);

  // A lease is issued: the first one of a generation starts the time of its points.
  void StartTime(absl::Duration now);

  // The time of a point: since the generation's first lease, plus the time of the newest point that
  // Begin() was given.
  double SecondsAt(absl::Duration now) const;

  // Fills in the curves from `from_step` to `last_step`, and the rate and mean times of the last
  // minute.
  void Fill(int64_t from_step, int64_t last_step, absl::Duration now, Progress& progress) const;

  // The newest point of each curve.
  std::optional<ProgressPoint> last_training() const { return Last(training_); }
  std::optional<ProgressPoint> last_evaluation() const { return Last(evaluations_); }

  // The points of steps before `step`.
  std::vector<ProgressPoint> TrainingBefore(int64_t step) const;
  std::vector<ProgressPoint> EvaluationsBefore(int64_t step) const;

  // Starts a generation with these curves; forgets all else.
  void Begin(const std::vector<ProgressPoint>& training,
             const std::vector<ProgressPoint>& evaluations);

 private:
  struct DoneLease {
    absl::Duration at;
    int64_t examples;
    LeaseTimes times;
  };

  struct Curve {
    std::deque<ProgressPoint> points;
    size_t metric_bytes = 0;     // of all points
    size_t without_metrics = 0;  // the first points, which have lost theirs
  };

  void Append(Curve& curve, const ProgressPoint& point);
  static std::optional<ProgressPoint> Last(const Curve& curve) {
    if (curve.points.empty()) return std::nullopt;
    return curve.points.back();
  }

  const size_t capacity_;
  Curve training_;
  Curve evaluations_;
  std::deque<DoneLease> leases_;  // of the last minute
  std::optional<absl::Duration> first_lease_;
  double restored_seconds_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_PROGRESS_HISTORY_H_

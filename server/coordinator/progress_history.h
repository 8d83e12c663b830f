// What has been reached so far: the points of the curves, the rate of work, where the workers' time
// goes. A state machine without locks, clocks or I/O.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_PROGRESS_HISTORY_H_
#define PERCENTDELTA_SERVER_COORDINATOR_PROGRESS_HISTORY_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/time/time.h"
#include "common/cluster/progress.h"

namespace percentdelta {

// Not thread-safe.
class ProgressHistory {
 public:
  // Retains at most so many points of each curve.
  explicit ProgressHistory(size_t capacity) : capacity_(capacity) {}

  void AddTraining(const ProgressPoint& point) { Append(training_, point); }
  void AddEvaluation(const ProgressPoint& point) { Append(evaluations_, point); }

  // A completed training lease: its examples, and where its time went.
  void AddLease(int64_t examples, const LeaseTimes& times, absl::Duration now);

  // Fills in the curves from `from_step` on, the rate and the mean times of the last minute.
  void Fill(int64_t from_step, absl::Duration now, Progress& progress) const;

  // A new generation begins: forgets the rate, and the curves but for what is known of them.
  void Begin(const std::vector<ProgressPoint>& training,
             const std::vector<ProgressPoint>& evaluations);

  // The newest time of a point; 0 if there is none.
  double seconds() const;

 private:
  struct DoneLease {
    absl::Duration at;
    int64_t examples;
    LeaseTimes times;
  };

  void Append(std::deque<ProgressPoint>& curve, const ProgressPoint& point);

  const size_t capacity_;
  std::deque<ProgressPoint> training_;
  std::deque<ProgressPoint> evaluations_;
  std::deque<DoneLease> leases_;  // of the last minute
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_PROGRESS_HISTORY_H_

// What has been reached so far: the points of the curves, the rate of work, who works. A state
// machine without locks, clocks or I/O.

#ifndef PERCENTDELTA_SERVER_PROGRESS_HISTORY_H_
#define PERCENTDELTA_SERVER_PROGRESS_HISTORY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/progress.h"

namespace percentdelta {

// Not thread-safe.
class ProgressHistory {
 public:
  // Retains at most so many points of each curve.
  explicit ProgressHistory(size_t capacity) : capacity_(capacity) {}

  void AddTraining(const ProgressPoint& point) { Append(training_, point); }
  void AddEvaluation(const ProgressPoint& point) { Append(evaluations_, point); }

  // Training examples that a completed lease has seen.
  void AddExamples(int64_t examples, absl::Duration now);

  void SeeWorker(const std::string& worker, absl::Duration now);

  // Fills in the curves from `from_step` on, the rate and the number of workers.
  void Fill(int64_t from_step, absl::Duration now, Progress& progress) const;

  // A new generation begins: forgets the rate, and the curves but for what is known of them.
  void Begin(const std::vector<ProgressPoint>& training,
             const std::vector<ProgressPoint>& evaluations);

  // The newest time of a point; 0 if there is none.
  double seconds() const;

 private:
  void Append(std::deque<ProgressPoint>& curve, const ProgressPoint& point);

  const size_t capacity_;
  std::deque<ProgressPoint> training_;
  std::deque<ProgressPoint> evaluations_;
  std::deque<std::pair<absl::Duration, int64_t>> examples_;  // of the last minute
  std::map<std::string, absl::Duration> workers_;            // last seen
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_PROGRESS_HISTORY_H_

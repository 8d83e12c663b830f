#include "server/coordinator/progress_history.h"

#include <algorithm>
#include <iterator>

namespace percentdelta {
namespace {

constexpr absl::Duration kWindow = absl::Minutes(1);

void CopyFrom(const std::deque<ProgressPoint>& curve, int64_t from_step,
              std::vector<ProgressPoint>& points) {
  std::copy_if(curve.begin(), curve.end(), std::back_inserter(points),
               [&](const ProgressPoint& point) { return point.step >= from_step; });
}

}  // namespace

void ProgressHistory::Append(std::deque<ProgressPoint>& curve, const ProgressPoint& point) {
  curve.push_back(point);
  if (curve.size() > capacity_) curve.pop_front();
}

void ProgressHistory::AddLease(int64_t examples, const LeaseTimes& times, absl::Duration now) {
  leases_.push_back({now, examples, times});
  while (leases_.front().at < now - kWindow) leases_.pop_front();
}

void ProgressHistory::Fill(int64_t from_step, absl::Duration now, Progress& progress) const {
  CopyFrom(training_, from_step, progress.training);
  CopyFrom(evaluations_, from_step, progress.evaluations);
  // The first lease in the window says when the others began, so its examples are not counted.
  const auto begin = std::find_if(leases_.begin(), leases_.end(), [&](const DoneLease& lease) {
    return lease.at >= now - kWindow;
  });
  if (begin == leases_.end()) return;
  LeaseTimes sum;
  int64_t examples = -begin->examples;
  for (auto lease = begin; lease != leases_.end(); ++lease) {
    examples += lease->examples;
    sum.pull += lease->times.pull;
    sum.compute += lease->times.compute;
    sum.push += lease->times.push;
  }
  const int64_t count = std::distance(begin, leases_.end());
  progress.mean_times = LeaseTimes{sum.pull / count, sum.compute / count, sum.push / count};
  const double seconds = absl::ToDoubleSeconds(leases_.back().at - begin->at);
  if (seconds > 0) progress.examples_per_second = static_cast<double>(examples) / seconds;
}

void ProgressHistory::Begin(const std::vector<ProgressPoint>& training,
                            const std::vector<ProgressPoint>& evaluations) {
  training_.clear();
  evaluations_.clear();
  leases_.clear();
  for (const ProgressPoint& point : training) Append(training_, point);
  for (const ProgressPoint& point : evaluations) Append(evaluations_, point);
}

double ProgressHistory::seconds() const {
  double seconds = training_.empty() ? 0 : training_.back().seconds;
  if (!evaluations_.empty()) seconds = std::max(seconds, evaluations_.back().seconds);
  return seconds;
}

}  // namespace percentdelta

#include "server/progress_history.h"

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

void ProgressHistory::AddExamples(int64_t examples, absl::Duration now) {
  examples_.emplace_back(now, examples);
  while (examples_.front().first < now - kWindow) examples_.pop_front();
}

void ProgressHistory::SeeWorker(const std::string& worker, absl::Duration now) {
  workers_[worker] = now;
  std::erase_if(workers_, [&](const auto& entry) { return entry.second < now - kWindow; });
}

void ProgressHistory::Fill(int64_t from_step, absl::Duration now, Progress& progress) const {
  CopyFrom(training_, from_step, progress.training);
  CopyFrom(evaluations_, from_step, progress.evaluations);
  progress.workers =
      static_cast<int>(std::count_if(workers_.begin(), workers_.end(), [&](const auto& entry) {
        return entry.second >= now - kWindow;
      }));
  // The first lease in the window tells when the others began, so it is not counted itself.
  const auto begin = std::find_if(examples_.begin(), examples_.end(),
                                  [&](const auto& entry) { return entry.first >= now - kWindow; });
  if (begin == examples_.end() || std::next(begin) == examples_.end()) return;
  int64_t examples = 0;
  for (auto entry = std::next(begin); entry != examples_.end(); ++entry) examples += entry->second;
  const double seconds = absl::ToDoubleSeconds(examples_.back().first - begin->first);
  if (seconds > 0) progress.examples_per_second = static_cast<double>(examples) / seconds;
}

void ProgressHistory::Begin(const std::vector<ProgressPoint>& training,
                            const std::vector<ProgressPoint>& evaluations) {
  training_.clear();
  evaluations_.clear();
  examples_.clear();
  for (const ProgressPoint& point : training) Append(training_, point);
  for (const ProgressPoint& point : evaluations) Append(evaluations_, point);
}

double ProgressHistory::seconds() const {
  double seconds = training_.empty() ? 0 : training_.back().seconds;
  if (!evaluations_.empty()) seconds = std::max(seconds, evaluations_.back().seconds);
  return seconds;
}

}  // namespace percentdelta

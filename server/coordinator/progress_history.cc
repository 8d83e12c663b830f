// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/progress_history.h"

#include <algorithm>
#include <iterator>

namespace percentdelta {
namespace {

constexpr absl::Duration kWindow = absl::Minutes(1);

// About what a point's metrics are on the wire.
size_t MetricBytes(const ProgressPoint& point) {
  constexpr size_t kBesidesTheName = 16;
  size_t bytes = 0;
  for (const Metric& metric : point.metrics) bytes += metric.name.size() + kBesidesTheName;
  return bytes;
}

// The first point of `step` or a later one.
auto Find(const std::deque<ProgressPoint>& curve, int64_t step) {
  const auto before = [](const ProgressPoint& point, int64_t bound) { return point.step < bound; };
  return std::lower_bound(curve.begin(), curve.end(), step, before);
}

// The points of the steps first..last.
std::vector<ProgressPoint> Between(const std::deque<ProgressPoint>& curve, int64_t first,
                                   int64_t last) {
  const auto is_after = [](int64_t step, const ProgressPoint& point) { return step < point.step; };
  const auto begin = Find(curve, first);
  return {begin, std::upper_bound(begin, curve.end(), last, is_after)};
}

}  // namespace

void ProgressHistory::Append(Curve& curve, const ProgressPoint& point) {
  curve.points.push_back(point);
  curve.metric_bytes += MetricBytes(point);
  if (curve.points.size() > capacity_) {
    curve.metric_bytes -= MetricBytes(curve.points.front());
    curve.points.pop_front();
    if (curve.without_metrics > 0) --curve.without_metrics;
  }
  while (curve.metric_bytes > kMaxMetricBytes) {
    ProgressPoint& oldest = curve.points[curve.without_metrics++];
    curve.metric_bytes -= MetricBytes(oldest);
    oldest.metrics = {};
  }
}

void ProgressHistory::AddLease(int64_t examples, const LeaseTimes& times, absl::Duration now) {
  leases_.push_back({now, examples, times});
  while (leases_.front().at < now - kWindow) leases_.pop_front();
}

void ProgressHistory::StartTime(absl::Duration now) {
  if (!first_lease_) first_lease_ = now;
}

double ProgressHistory::SecondsAt(absl::Duration now) const {
  return restored_seconds_ + (first_lease_ ? absl::ToDoubleSeconds(now - *first_lease_) : 0);
}

std::vector<ProgressPoint> ProgressHistory::TrainingBefore(int64_t step) const {
  return {training_.points.begin(), Find(training_.points, step)};
}

std::vector<ProgressPoint> ProgressHistory::EvaluationsBefore(int64_t step) const {
  return {evaluations_.points.begin(), Find(evaluations_.points, step)};
}

void ProgressHistory::Fill(int64_t from_step, int64_t last_step, absl::Duration now,
                           Progress& progress) const {
  progress.training = Between(training_.points, from_step, last_step);
  progress.evaluations = Between(evaluations_.points, from_step, last_step);
  // The first lease in the window marks when the others started: its examples are not counted.
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
  training_ = {};
  evaluations_ = {};
  leases_.clear();
  for (const ProgressPoint& point : training) Append(training_, point);
  for (const ProgressPoint& point : evaluations) Append(evaluations_, point);
  first_lease_.reset();
  restored_seconds_ = training_.points.empty() ? 0 : training_.points.back().seconds;
  if (!evaluations_.points.empty()) {
    restored_seconds_ = std::max(restored_seconds_, evaluations_.points.back().seconds);
  }
}

}  // namespace percentdelta

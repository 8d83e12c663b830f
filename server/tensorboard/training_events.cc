// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/training_events.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/tensorboard/histogram_events.h"
#include "server/tensorboard/job_events.h"

namespace percentdelta {
namespace {

constexpr char kTrainingLoss[] = "loss/training";
constexpr char kTestLoss[] = "loss/test";
constexpr char kRate[] = "rate";

// How far back a step of which statistics are missing is looked for: some never come, because a
// process died.
constexpr int64_t kLookBack = 100;

tensorboard::Event EventAt(int64_t step, absl::Time now) {
  tensorboard::Event event;
  event.set_wall_time(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  event.set_step(step);
  return event;
}

void AddScalar(tensorboard::Event& event, std::string tag, double number) {
  tensorboard::Summary::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(std::move(tag));
  value.set_simple_value(static_cast<float>(number));
}

template <typename Point, typename Steps>
int64_t FirstMissing(const std::vector<Point>& points, const Steps& steps, int64_t end) {
  for (const Point& point : points) {
    if (point.step >= end) break;
    if (!steps.Has(point.step)) return point.step;
  }
  return end;
}

}  // namespace

void TrainingEvents::Steps::Add(int64_t step) {
  if (step < prefix_) return;
  others_.insert(step);
  while (!others_.empty() && *others_.begin() == prefix_) {
    others_.erase(others_.begin());
    ++prefix_;
  }
}

void TrainingEvents::Steps::EraseFrom(int64_t step) {
  prefix_ = std::min(prefix_, step);
  others_.erase(others_.lower_bound(step), others_.end());
}

void TrainingEvents::EraseFrom(int64_t step) {
  for (Steps* steps : {&training_, &evaluations_, &statistics_}) steps->EraseFrom(step);
  histograms_.erase(histograms_.lower_bound(step), histograms_.end());
}

void TrainingEvents::Restore(const tensorboard::Event& event) {
  if (event.session_log().status() == tensorboard::SessionLog::START) {
    EraseFrom(event.step());
    if (event.step() == 0) job_written_ = false;
  }
  for (const tensorboard::Summary::Value& value : event.summary().value()) {
    if (value.tag() == kTrainingLoss) training_.Add(event.step());
    if (value.tag() == kTestLoss) evaluations_.Add(event.step());
    if (value.tag() == kRate) statistics_.Add(event.step());
    if (value.tag() == kJobTag) job_written_ = true;
    if (value.has_histo()) histograms_.insert(event.step());
  }
}

TrainingEvents::Position TrainingEvents::where(uint64_t generation) const {
  if (generation_ != generation) return {};
  return {training_.end(), evaluations_.end(),
          std::max(statistics_.prefix(), statistics_.end() - kLookBack)};
}

void TrainingEvents::Begin(const TrainingSnapshot& snapshot, absl::Time now, Sink sink) {
  int64_t from = snapshot.first_step;
  from = FirstMissing(snapshot.training, training_, from);
  from = FirstMissing(snapshot.evaluations, evaluations_, from);
  from = FirstMissing(snapshot.statistics, statistics_, from);
  EraseFrom(from);
  tensorboard::Event start = EventAt(from, now);
  start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  sink(start);
  if (from == 0 || !job_written_) sink(JobEvent(job_, now));
  job_written_ = true;
  previous_.reset();
  generation_ = snapshot.generation;
}

void TrainingEvents::WritePoint(absl::string_view set, const ProgressPoint& point, absl::Time now,
                                Sink sink) {
  tensorboard::Event event = EventAt(point.step, now);
  AddScalar(event, absl::StrCat("loss/", set), point.loss);
  AddScalar(event, absl::StrCat("accuracy/", set), point.accuracy);
  for (const Metric& metric : point.metrics) {
    AddScalar(event, absl::StrCat("metrics/", metric.name, "/", set), metric.value);
  }
  if (set == "training") {
    const double began = previous_ ? previous_->seconds : 0;
    const bool follows = previous_ ? previous_->step + 1 == point.step : point.step == 0;
    if (follows && point.seconds > began) {
      AddScalar(
          event, "examples_per_second",
          static_cast<double>(job_.batch_size) * job_.gradients_per_step / (point.seconds - began));
    }
    previous_ = point;
  }
  sink(event);
}

void TrainingEvents::Add(const TrainingSnapshot& snapshot, absl::Time now, Sink sink) {
  if (generation_ != snapshot.generation) Begin(snapshot, now, sink);
  for (const ProgressPoint& point : snapshot.training) {
    if (training_.Has(point.step)) {
      previous_ = point;
      continue;
    }
    WritePoint("training", point, now, sink);
    training_.Add(point.step);
  }
  for (const ProgressPoint& point : snapshot.evaluations) {
    if (evaluations_.Has(point.step)) continue;
    WritePoint("test", point, now, sink);
    evaluations_.Add(point.step);
  }
  for (const StepStatistics& step : snapshot.statistics) {
    if (statistics_.Has(step.step) || step.updates.empty()) continue;
    tensorboard::Event event = EventAt(step.step, now);
    AddScalar(event, kRate, step.updates.front().rate);
    for (const TensorStatistics& tensor : step.updates) {
      AddScalar(event, absl::StrCat("relative_change/", tensor.tensor), tensor.relative_delta);
      AddScalar(event, absl::StrCat("sgd_relative_change/", tensor.tensor),
                tensor.sgd_relative_delta);
      AddScalar(event, absl::StrCat("multiplier/", tensor.tensor), tensor.multiplier);
    }
    sink(event);
    statistics_.Add(step.step);
  }
  for (const StepHistograms& step : snapshot.histograms) {
    if (!histograms_.insert(step.step).second) continue;
    sink(HistogramEvent(step, now));
  }
}

}  // namespace percentdelta

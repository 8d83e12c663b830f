// SPDX-License-Identifier: Apache-2.0

#include "server/http/live_feed.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/page/page_json.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kActivityInterval = absl::Seconds(1);
constexpr size_t kMaxEvents = 1000;

// Steps of statistics, and of points, that are copied at a time, under the lock of their owner.
constexpr int64_t kStepsAtATime = 16;
constexpr int64_t kPointsAtATime = 500;

// A step that is not complete while this many later ones are will never be.
constexpr int64_t kMaxStepsAhead = 16;

std::string DrawEpoch() {
  std::random_device device;  // two processes must differ
  return absl::StrCat(absl::Hex(device(), absl::kZeroPad8));
}

}  // namespace

LiveFeed::LiveFeed(const Job& job, const PageSource& source, std::function<absl::Time()> wall)
    : source_(source),
      wall_(std::move(wall)),
      epoch_(DrawEpoch()),
      job_(job),
      job_json_(JobJson(job)),
      charts_(job) {}

void LiveFeed::TakePoints(const Progress& progress) {
  if (progress.generation != generation_) {
    generation_ = progress.generation;
    charts_.Truncate(source_.first_step());
  }
  for (const ProgressPoint& point : progress.training) charts_.AddTraining(point);
  for (const ProgressPoint& point : progress.evaluations) charts_.AddEvaluation(point);
}

// Takes no lock while it asks: the source may be busy.
void LiveFeed::TakeStatistics() {
  while (true) {
    int64_t next = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (closed_) return;
      next = charts_.next_updates();
    }
    const int64_t newest = source_.newest_statistics();
    const std::vector<StepStatistics> steps = source_.Statistics(next, kStepsAtATime);
    bool taken = false;
    absl::MutexLock lock(&mutex_);
    for (const StepStatistics& step : steps) {
      // Statistics come from several shards: an earlier step may still be on its way.
      if (step.step > charts_.next_updates() && charts_.next_updates() > 0 &&
          newest - charts_.next_updates() < kMaxStepsAhead) {
        return;
      }
      charts_.AddUpdates(step);
      taken = true;
    }
    if (!taken) return;
  }
}

std::string LiveFeed::TakeEvents() {
  const std::vector<ClusterEvent> events = source_.EventsAfter(last_event_);
  const absl::Time wall = wall_();
  const absl::Duration now = source_.Now();
  std::vector<std::string> added;
  added.reserve(events.size());
  for (const ClusterEvent& event : events) {
    last_event_ = event.id;
    added.push_back(EventJson(event, wall - (now - event.at)));
    events_.push_back(added.back());
    if (events_.size() > kMaxEvents) events_.pop_front();
  }
  return absl::StrJoin(added, ",");
}

void LiveFeed::Tick() {
  int64_t from = 0;
  {
    absl::MutexLock lock(&mutex_);
    from = std::min(charts_.next_training(), charts_.next_evaluation());
  }
  Progress progress = source_.GetProgress(from);
  if (progress.generation != generation_) progress = source_.GetProgress(0);
  const absl::Duration now = source_.Now();
  std::string activity;
  if (now - activity_taken_ >= kActivityInterval) {
    activity_taken_ = now;
    activity = ActivityJson(source_.GetActivity(), kMaxWorkers, now);
  }
  {
    absl::MutexLock lock(&mutex_);
    TakePoints(progress);
  }
  TakeStatistics();
  const std::string status = TrainingStatusJson(progress);

  absl::MutexLock lock(&mutex_);
  std::vector<std::string> parts;
  if (const std::string charts = charts_.TakeChanges(); !charts.empty()) {
    parts.push_back(absl::StrCat("\"charts\":", charts));
  }
  if (status != status_) {
    status_ = status;
    parts.push_back(absl::StrCat("\"status\":", status_));
  }
  if (!activity.empty()) {
    activity_ = std::move(activity);
    parts.push_back(absl::StrCat("\"activity\":", activity_));
  }
  if (const std::string events = TakeEvents(); !events.empty()) {
    parts.push_back(absl::StrCat("\"events\":[", events, "]"));
  }
  if (!parts.empty()) Publish(absl::StrCat("{", absl::StrJoin(parts, ","), "}"));
}

void LiveFeed::Publish(std::string text) {
  message_bytes_ += text.size();
  messages_.push_back({++last_id_, std::make_shared<const std::string>(std::move(text))});
  while (message_bytes_ > kMaxMessageBytes && messages_.size() > 1) {
    message_bytes_ -= messages_.front().text->size();
    messages_.pop_front();
  }
  snapshot_ = nullptr;
}

std::shared_ptr<const std::string> LiveFeed::Snapshot() const {
  absl::MutexLock lock(&mutex_);
  if (snapshot_ == nullptr) {
    snapshot_ = std::make_shared<const std::string>(
        absl::StrCat("{\"id\":\"", epoch_, "-", last_id_, "\",\"job\":", job_json_,
                     ",\"status\":", status_, ",\"activity\":", activity_, ",\"events\":[",
                     absl::StrJoin(events_, ","), "],\"charts\":", charts_.Json(), "}"));
  }
  return snapshot_;
}

std::string LiveFeed::Charts(int64_t first, int64_t last) const {
  const auto tensors = static_cast<int64_t>(std::max<size_t>(1, job_.model.tensors.size()));
  if (last - first >= kMaxValuesRead / tensors) return "{}";
  {
    absl::MutexLock lock(&mutex_);
    last = std::min(last, std::max({charts_.next_training(), charts_.next_evaluation(),
                                    charts_.next_updates()}));
  }
  absl::MutexLock one_at_a_time(&reading_);
  PageCharts charts(job_);
  for (int64_t from = first; from <= last; from += kPointsAtATime) {
    const Progress part = source_.PointsOf(from, std::min(last, from + kPointsAtATime - 1));
    for (const ProgressPoint& point : part.training) charts.AddTraining(point);
    for (const ProgressPoint& point : part.evaluations) charts.AddEvaluation(point);
  }
  for (int64_t from = first; from <= last;) {
    const std::vector<StepStatistics> steps = source_.Statistics(from, kStepsAtATime);
    from += kStepsAtATime;
    for (const StepStatistics& step : steps) {
      if (step.step <= last) charts.AddUpdates(step);
      from = std::max(from, step.step + 1);  // the first that are retained may come later
    }
  }
  return charts.Json();
}

std::string LiveFeed::Step(int64_t step) const {
  const std::vector<StepStatistics> statistics = source_.Statistics(step, 1);
  const Progress progress = source_.PointsOf(step, step);
  const auto at_step = [&](const auto& found) {
    return !found.empty() && found.front().step == step ? &found.front() : nullptr;
  };
  return StepJson(step, at_step(statistics), at_step(progress.training),
                  at_step(progress.evaluations));
}

std::optional<LiveFeed::Message> LiveFeed::Next(int64_t id, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return closed_ || last_id_ > id; };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&ready), timeout) || closed_) return std::nullopt;
  const int64_t oldest = messages_.front().id;
  if (id + 1 < oldest) return Message{last_id_, nullptr};
  return messages_[id + 1 - oldest];
}

void LiveFeed::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

bool LiveFeed::closed() const {
  absl::MutexLock lock(&mutex_);
  return closed_;
}

}  // namespace percentdelta

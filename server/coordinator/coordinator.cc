// SPDX-License-Identifier: Apache-2.0

// How a generation opens. It is due when all shards are there and one of them is a new process. If
// checkpoints are configured, WorkOnCheckpoints() looks for the newest complete one and records the
// generation's number on disk before it announces both to the shards. If that fails, or if there
// are checkpoints and none is complete, no generation opens: progress shows the reason, and it is
// retried each second. Each shard reads its slices and reports that it has entered; leases are
// issued when all have.

#include "server/coordinator/coordinator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/job/job_codec.h"
#include "server/coordinator/generation_start.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kMaxWait = absl::Seconds(30);
constexpr absl::Duration kRetryInterval = absl::Seconds(1);
constexpr absl::Duration kRefusalLogInterval = absl::Seconds(1);

absl::Status Drained() {
  return absl::UnavailableError("the cluster has been drained, and its coordinator is ending");
}

// A step is not applied before all of its slots have been leased.
absl::Status CheckStarted(absl::string_view what, int64_t step, int64_t current) {
  if (step <= current) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": expected a step of at most ", current, ", got ", step));
}

absl::Status Closing() { return absl::UnavailableError("the coordinator is shutting down"); }

}  // namespace

Coordinator::Coordinator(Options options)
    : options_(std::move(options)),
      job_hash_(JobHash(options_.job)),
      statistics_(options_.job, options_.history_steps),
      histograms_(options_.job, options_.shard_count, options_.histogram_steps),
      training_(options_.job, job_hash_,
                {.shard_count = options_.shard_count,
                 .first_generation = options_.first_generation,
                 .lease_deadline = options_.lease_deadline,
                 .history_steps = options_.history_steps,
                 .max_workers = options_.max_workers,
                 .max_lease_deadlines = options_.max_lease_deadlines,
                 .log = options_.log}) {}

Coordinator::~Coordinator() { Close(); }

ClusterView Coordinator::view() const {
  absl::MutexLock lock(&mutex_);
  return training_.membership().view();
}

absl::StatusOr<ClusterView> Coordinator::Heartbeat(const ShardBeat& beat) {
  LeaseAnswers answers;
  absl::StatusOr<ClusterView> view;
  std::optional<Newcomer> newcomer;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return Closing();
    const absl::Duration now = options_.clock->Now();
    Membership& membership = training_.membership();
    if (training_.drained() && !membership.IsMember(beat)) return Drained();
    absl::StatusOr<bool> due = membership.Beat(beat, now);
    if (!due.ok()) {
      LogRefusal(due.status(), now);
      return due.status();
    }
    if (!membership.IsMember(beat)) newcomer = membership.newcomer(beat.shard);
    if (newcomer && options_.call_back == nullptr) due = membership.Admit(*newcomer);
    if (*due && !NeedsDisk()) OpenGeneration(0, std::nullopt, now, answers);
    if (membership.IsMember(beat)) training_.TakeBeat(beat, now);
    ServeWaiters(now, answers);
    view = membership.ViewFor(beat);
    view->histogram_steps = options_.histogram_steps;
    if (training_.drained()) view->drained = training_.TellMayEnd(beat.shard, now);
  }
  answers.Send();
  if (newcomer && options_.call_back != nullptr) options_.call_back(*newcomer);
  return view;
}

// A process that is refused may come again at once, and chooses what its messages contain.
void Coordinator::LogRefusal(const absl::Status& status, absl::Duration now) {
  if (now - refusal_logged_ < kRefusalLogInterval) {
    ++refusals_not_logged_;
    return;
  }
  refusal_logged_ = now;
  options_.log->error("shard refused error=\"{}\" not_logged={}",
                      EscapeForLog(status.message(), kMaxReasonBytes),
                      std::exchange(refusals_not_logged_, 0));
}

void Coordinator::OnCalledBack(const Newcomer& newcomer, const absl::Status& status) {
  LeaseAnswers answers;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    const absl::Duration now = options_.clock->Now();
    Membership& membership = training_.membership();
    if (!status.ok()) {
      if (membership.Reject(newcomer, std::string(status.message()))) {
        options_.log->warn("shard not reached error=\"{}\"", status.message());
      }
      if (newcomer.shard != 0 || absl::IsFailedPrecondition(status)) return;
    }
    if (membership.Admit(newcomer) && !NeedsDisk()) OpenGeneration(0, std::nullopt, now, answers);
    ServeWaiters(now, answers);
  }
  answers.Send();
}

void Coordinator::WorkOnCheckpoints() {
  OpenFromDisk();
  CompleteCheckpoint();
  RecordPause();
}

void Coordinator::OpenFromDisk() {
  uint64_t generation = 0;
  std::optional<bool> paused;  // the first generation restores it
  {
    absl::MutexLock lock(&mutex_);
    const Membership& membership = training_.membership();
    if (closed_ || !membership.needs_generation() || !NeedsDisk()) return;
    if (options_.clock->Now() < reopen_at_) return;
    generation = membership.next_generation();
    if (membership.generation() != 0) paused = training_.paused();
  }
  const absl::StatusOr<GenerationStart> start =
      PrepareGeneration(options_.job, options_.store.get(), options_.restore, generation, paused);
  LeaseAnswers answers;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    const absl::Duration now = options_.clock->Now();
    if (!start.ok()) {
      const std::string error(start.status().message());
      if (error != opening_error_) options_.log->error("no generation opened error=\"{}\"", error);
      opening_error_ = error;
      reopen_at_ = now + kRetryInterval;
      return;
    }
    opening_error_.clear();
    recorded_pause_ = start->paused;
    if (!paused && start->paused) {
      options_.log->warn("paused, as before this process started; pdctl resume lets it continue");
      training_.SetPaused(true);
    }
    OpenGeneration(start->generation, start->checkpoint, now, answers);
    ServeWaiters(now, answers);
  }
  answers.Send();
}

void Coordinator::OpenGeneration(uint64_t at_least, const std::optional<Checkpoint>& checkpoint,
                                 absl::Duration now, LeaseAnswers& answers) {
  training_.Open(at_least, checkpoint, now);
  if (checkpoint && !checkpoint_time_) checkpoint_time_ = absl::Now();
  const Membership& membership = training_.membership();
  statistics_.Begin(membership.generation(), membership.first_step(),
                    checkpoint ? checkpoint->history.statistics : std::vector<StepStatistics>());
  histograms_.Begin(membership.generation(), membership.first_step());
  // Workers that joined before the restored training was known may not match it.
  RefuseWaiters(now, answers);
}

void Coordinator::RefuseWaiters(absl::Duration now, LeaseAnswers& answers) {
  const auto check = [&](const WorkerIdentity& worker) {
    mutex_.AssertHeld();
    return training_.CheckWorker(worker, now);
  };
  waiters_.Refuse(check, answers);
}

void Coordinator::CompleteCheckpoint() {
  std::optional<Training::ReadyCheckpoint> ready;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    ready = training_.FindReadyCheckpoint(statistics_, histograms_, options_.clock->Now());
  }
  if (!ready) return;
  const int64_t step = ready->manifest.step;
  ready->history.statistics = statistics_.Range(0, step - 1, "");
  // No generation opens meanwhile: this is the thread that would open it.
  const absl::Status status =
      options_.store->Complete(ready->manifest, ready->files, ready->history, ready->initial_step);
  LeaseAnswers answers;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    training_.EndCheckpoint(step, status, now);
    if (status.ok()) {
      ++checkpoints_completed_;
      checkpoint_time_ = absl::Now();
    }
    ServeWaiters(now, answers);
  }
  answers.Send();
}

absl::StatusOr<int64_t> Coordinator::TakeCheckpoint() {
  absl::MutexLock lock(&mutex_);
  return training_.RequestCheckpoint();
}

void Coordinator::ServeWaiters(absl::Duration now, LeaseAnswers& answers) {
  if (training_.TakeDecision()) RefuseWaiters(now, answers);
  // Once there is no work for one worker, there is none for the others that are as proven, unless
  // some work has failed.
  std::array<bool, 2> none_left = {};
  const auto next = [&](const WorkerIdentity& worker) -> std::optional<Lease> {
    mutex_.AssertHeld();
    bool& none = none_left[training_.IsProven(worker.name) ? 1 : 0];
    if (none && !training_.depends_on_worker()) return std::nullopt;
    std::optional<Lease> lease = training_.NextLease(worker.name, now);
    none = !lease && training_.CheckWorker(worker, now).ok();
    return lease;
  };
  waiters_.Serve(now, /*depends_on_worker=*/true, next, answers);
}

uint64_t Coordinator::Acquire(const WorkerIdentity& worker, absl::Duration max_wait,
                              LeaseCallback callback) {
  LeaseAnswers answers;
  uint64_t id = 0;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    if (closed_) {
      answers.Add(std::move(callback), Closing());
    } else if (absl::Status status = training_.CheckWorker(worker, now); !status.ok()) {
      answers.Add(std::move(callback), status);
    } else {
      training_.SeeWorker(worker, now);
      max_wait = std::clamp(max_wait, absl::ZeroDuration(), kMaxWait);
      id = waiters_.Add(worker, now + max_wait, std::move(callback));
      ServeWaiters(now, answers);
    }
  }
  answers.Send();
  return id;
}

void Coordinator::CancelWait(uint64_t wait) {
  LeaseAnswers answers;
  {
    absl::MutexLock lock(&mutex_);
    waiters_.Cancel(wait, answers);
  }
  answers.Send();
}

void Coordinator::Gathered(uint64_t generation, int32_t shard, int64_t steps) {
  LeaseAnswers answers;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || !training_.CheckGeneration(generation).ok()) return;
    const absl::Duration now = options_.clock->Now();
    training_.TakeGathered(shard, steps, now);
    ServeWaiters(now, answers);
  }
  answers.Send();
}

absl::StatusOr<Lease> Coordinator::Complete(const LeaseResult& result) {
  LeaseAnswers answers;
  Lease next;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    RETURN_IF_ERROR(training_.Complete(result, now));
    ServeWaiters(now, answers);  // first: they have waited longer than this worker
    if (!result.leaving) next = training_.NextLease(result.worker, now).value_or(Lease());
  }
  answers.Send();
  return next;
}

absl::StatusOr<absl::Duration> Coordinator::Renew(uint64_t generation, uint64_t lease_id,
                                                  const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  return training_.Renew(generation, lease_id, worker, options_.clock->Now());
}

absl::StatusOr<int64_t> Coordinator::StepOf(uint64_t generation) const {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(training_.CheckGeneration(generation));
  return training_.step();
}

absl::Status Coordinator::ReportStatistics(uint64_t generation,
                                           const std::vector<TensorStatistics>& updates) {
  ASSIGN_OR_RETURN(const int64_t current, StepOf(generation));
  for (const TensorStatistics& update : updates) {
    RETURN_IF_ERROR(CheckStarted("statistics", update.step, current));
    RETURN_IF_ERROR(statistics_.Add(generation, update));
  }
  return absl::OkStatus();
}

absl::Status Coordinator::ReportHistograms(uint64_t generation, const SliceHistograms& histograms) {
  ASSIGN_OR_RETURN(const int64_t current, StepOf(generation));
  RETURN_IF_ERROR(CheckStarted("histograms", histograms.step, current));
  return histograms_.Add(generation, histograms);
}

Progress Coordinator::GetProgress(int64_t from_step, int64_t last_step) const {
  absl::MutexLock lock(&mutex_);
  return training_.GetProgress(from_step, last_step, opening_error_, options_.clock->Now());
}

ClusterActivity Coordinator::GetActivity() const {
  absl::MutexLock lock(&mutex_);
  return training_.GetActivity(options_.clock->Now());
}

std::vector<ClusterEvent> Coordinator::EventsAfter(int64_t after) const {
  absl::MutexLock lock(&mutex_);
  return training_.EventsAfter(after);
}

TrainingMetrics Coordinator::GetMetrics() const {
  absl::MutexLock lock(&mutex_);
  TrainingMetrics metrics = training_.GetMetrics(options_.clock->Now());
  metrics.waiting_calls = waiters_.size();
  metrics.checkpoints_completed = checkpoints_completed_;
  metrics.checkpoint_time = checkpoint_time_;
  return metrics;
}

bool Coordinator::failed() const {
  absl::MutexLock lock(&mutex_);
  return training_.state() == TrainingState::kFailed;
}

void Coordinator::Tick() {
  LeaseAnswers answers;
  std::string failure;
  uint64_t generation = 0;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    training_.Tick(now);
    ServeWaiters(now, answers);
    failure = training_.failure();
    generation = training_.membership().generation();
  }
  if (!failure.empty()) {
    statistics_.End(generation, absl::AbortedError(absl::StrCat("the training failed: ", failure)));
  }
  answers.Send();
}

void Coordinator::Close() {
  LeaseAnswers answers;
  uint64_t generation = 0;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    waiters_.Refuse([](const WorkerIdentity&) { return Closing(); }, answers);
    generation = training_.membership().generation();
  }
  answers.Send();
  statistics_.End(generation, Closing());
}

}  // namespace percentdelta

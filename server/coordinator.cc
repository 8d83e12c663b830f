#include "server/coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/job_codec.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kLongestWait = absl::Seconds(30);
constexpr absl::Duration kSilence = absl::Seconds(5);
constexpr absl::Duration kLogInterval = absl::Seconds(10);

absl::Status Closing() { return absl::UnavailableError("the coordinator is shutting down"); }

absl::string_view KindName(Lease::Kind kind) {
  return kind == Lease::Kind::kEvaluate ? "evaluate" : "train";
}

}  // namespace

Coordinator::Coordinator(Options options)
    : options_(std::move(options)),
      job_hash_(JobHash(options_.job)),
      statistics_(options_.job, options_.history_steps),
      membership_(options_.shard_count, job_hash_, options_.first_generation),
      history_(options_.history_steps),
      plan_(options_.job, options_.shard_count) {}

Coordinator::~Coordinator() { Close(); }

Coordinator::View Coordinator::view() const {
  absl::MutexLock lock(&mutex_);
  return ViewNow();
}

Coordinator::View Coordinator::ViewNow() const {
  View view;
  view.missing = membership_.missing();
  // A process that is new must not enter the generation that it has ended.
  if (membership_.needs_generation()) return view;
  view.generation = membership_.generation();
  view.addresses = membership_.addresses();
  view.checkpoint = begin_checkpoint_;
  view.step = begin_step_;
  return view;
}

absl::StatusOr<Coordinator::View> Coordinator::Heartbeat(const ShardBeat& beat) {
  Answers answers;
  absl::StatusOr<View> view;
  std::optional<Newcomer> newcomer;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return Closing();
    const absl::Duration now = options_.clock->Now();
    absl::StatusOr<bool> due = membership_.Beat(beat, now);
    if (!due.ok()) {
      options_.log->error("shard refused error=\"{}\"", due.status().message());
      return due.status();
    }
    if (!membership_.IsMember(beat)) newcomer = membership_.newcomer(beat.shard);
    if (newcomer && options_.call_back == nullptr) due = membership_.Admit(*newcomer);
    if (*due && !NeedsDisk()) OpenGeneration(0, std::nullopt, answers);
    if (membership_.IsMember(beat)) TakeParts(beat);
    ServeWaiting(now, answers);
    view = ViewOf(beat);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
  if (newcomer && options_.call_back != nullptr) options_.call_back(*newcomer);
  return view;
}

// What is open is not for a process that is not registered.
Coordinator::View Coordinator::ViewOf(const ShardBeat& beat) const {
  if (membership_.IsMember(beat)) return ViewNow();
  View view;
  view.missing = membership_.missing();
  if (!absl::c_linear_search(view.missing, beat.shard)) view.missing.push_back(beat.shard);
  view.message = membership_.rejection(beat.shard);
  return view;
}

void Coordinator::Called(const Newcomer& newcomer, const absl::Status& status) {
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    const bool is_forgiven = newcomer.shard == 0 && !absl::IsFailedPrecondition(status);
    if (!status.ok()) {
      if (membership_.Reject(newcomer, std::string(status.message()))) {
        options_.log->warn("shard not reached error=\"{}\"", status.message());
      }
      if (!is_forgiven) return;
    }
    if (membership_.Admit(newcomer) && !NeedsDisk()) OpenGeneration(0, std::nullopt, answers);
    ServeWaiting(options_.clock->Now(), answers);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
}

TrainingState Coordinator::State() const {
  if (!leases_ || membership_.needs_generation()) return TrainingState::kGathering;
  if (!leases_->failure().empty()) return TrainingState::kFailed;
  if (!leases_->finished()) return TrainingState::kTraining;
  // The workers stay until the last checkpoint is there: a shard that dies before may need them.
  const bool kept = !plan_.under_way() || last_given_up_;
  return kept ? TrainingState::kFinished : TrainingState::kTraining;
}

absl::Status Coordinator::CheckGeneration(uint64_t generation) const {
  if (generation == membership_.generation() && generation != 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("generation: expected ", membership_.generation(), ", got ", generation));
}

absl::Status Coordinator::CheckArithmetic(const std::string& worker,
                                          const std::string& arithmetic) {
  if (arithmetic_.empty()) arithmetic_ = arithmetic;
  if (arithmetic == arithmetic_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("worker ", worker, ": expected arithmetic ", arithmetic_,
                   " as the first worker's, got ", arithmetic,
                   ": the weights' last bits would depend on who computed; start every worker from"
                   " the same version, with an --isa that all have"));
}

std::optional<Lease> Coordinator::NextLease(absl::Duration now) {
  Lease lease;
  switch (State()) {
    case TrainingState::kGathering:
      return std::nullopt;
    case TrainingState::kFinished:
      lease.kind = Lease::Kind::kFinished;
      return lease;
    case TrainingState::kFailed:
      lease.kind = Lease::Kind::kFailed;
      lease.message = leases_->failure();
      return lease;
    case TrainingState::kTraining:
      if (!membership_.entered()) return std::nullopt;
      break;
  }
  std::optional<Lease> next = leases_->Next(now);
  if (next && !first_lease_) first_lease_ = now;
  return next;
}

uint64_t Coordinator::Acquire(const std::string& worker, const std::string& arithmetic,
                              absl::Duration max_wait, LeaseCallback done) {
  Answers answers;
  uint64_t id = 0;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    if (closed_) {
      answers.emplace_back(std::move(done), Closing());
    } else if (absl::Status status = CheckArithmetic(worker, arithmetic); !status.ok()) {
      answers.emplace_back(std::move(done), status);
    } else {
      history_.SeeWorker(worker, now);
      id = next_wait_++;
      max_wait = std::clamp(max_wait, absl::ZeroDuration(), kLongestWait);
      waiting_.push_back({id, worker, arithmetic, now + max_wait, std::move(done)});
      ServeWaiting(now, answers);
    }
  }
  for (auto& [answer, lease] : answers) answer(std::move(lease));
  return id;
}

void Coordinator::CancelWait(uint64_t wait) {
  LeaseCallback done;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                    [&](const Waiting& waiting) { return waiting.id == wait; });
    if (found == waiting_.end()) return;
    done = std::move(found->done);
    waiting_.erase(found);
  }
  done(absl::CancelledError("the worker has left"));
}

void Coordinator::ServeWaiting(absl::Duration now, Answers& answers) {
  while (!waiting_.empty()) {
    std::optional<Lease> lease = NextLease(now);
    if (!lease) break;
    answers.emplace_back(std::move(waiting_.front().done), *std::move(lease));
    waiting_.pop_front();
  }
  // Those that have waited long enough, whoever stands before them.
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    if (waiting->until > now) {
      ++waiting;
      continue;
    }
    answers.emplace_back(std::move(waiting->done), Lease{});
    waiting = waiting_.erase(waiting);
  }
}

absl::StatusOr<Lease> Coordinator::Complete(const LeaseResult& result) {
  Answers answers;
  absl::StatusOr<Lease> next = Lease{};
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status status = CheckGeneration(result.generation); !status.ok()) return status;
    const absl::Duration now = options_.clock->Now();
    history_.SeeWorker(result.worker, now);
    const absl::StatusOr<LeaseTable::Completion> completion = leases_->Complete(result, now);
    if (!completion.ok()) return completion.status();
    Record(*completion, result, now);
    // Those that wait have waited longer.
    ServeWaiting(now, answers);
    if (std::optional<Lease> lease = NextLease(now)) next = *std::move(lease);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
  return next;
}

absl::StatusOr<absl::Duration> Coordinator::Renew(uint64_t generation, uint64_t lease_id,
                                                  const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status status = CheckGeneration(generation); !status.ok()) return status;
  const absl::Duration now = options_.clock->Now();
  history_.SeeWorker(worker, now);
  return leases_->Renew(lease_id, now);
}

void Coordinator::Record(const LeaseTable::Completion& completion, const LeaseResult& result,
                         absl::Duration now) {
  const double seconds =
      seconds_before_ + (first_lease_ ? absl::ToDoubleSeconds(now - *first_lease_) : 0);
  if (completion.kind == LeaseTable::Completion::Kind::kDuplicate) ++duplicates_;
  if (completion.kind == LeaseTable::Completion::Kind::kFailed) {
    ++failed_;
    // What is nobody's fault is logged where it happens.
    if (!result.not_at_fault) {
      options_.log->warn("lease failed lease={} worker={} reason=\"{}\"", result.lease_id,
                         result.worker, result.failure);
    }
  }
  if (completion.trained_examples > 0) history_.AddExamples(completion.trained_examples, now);
  if (completion.training) {
    ProgressPoint point = *completion.training;
    point.seconds = seconds;
    history_.AddTraining(point);
    if (now - last_log_ >= kLogInterval) {
      last_log_ = now;
      options_.log->info("progress step={} of={} loss={:.4f}", leases_->step(),
                         options_.job.max_steps, point.loss);
    }
  }
  if (completion.evaluation) {
    ProgressPoint point = *completion.evaluation;
    point.seconds = seconds;
    history_.AddEvaluation(point);
    options_.log->info("evaluated step={} accuracy={:.4f} loss={:.4f}", point.step, point.accuracy,
                       point.loss);
  }
  LogEnd();
}

void Coordinator::LogEnd() {
  if (end_logged_) return;
  if (State() == TrainingState::kFinished) {
    options_.log->info("training finished step={}", leases_->step());
  } else if (State() == TrainingState::kFailed) {
    options_.log->error("training failed reason=\"{}\"", leases_->failure());
  } else {
    return;
  }
  end_logged_ = true;
}

absl::Status Coordinator::ReportStatistics(uint64_t generation,
                                           const std::vector<TensorUpdate>& updates) {
  int64_t present = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status status = CheckGeneration(generation); !status.ok()) return status;
    present = leases_->step();
  }
  for (const TensorUpdate& update : updates) {
    // A step is not applied before all of its slots have been leased.
    if (update.step > present) {
      return absl::InvalidArgumentError(
          absl::StrCat("statistics: expected a step of at most ", present, ", got ", update.step));
    }
    if (absl::Status status = statistics_.Add(generation, update); !status.ok()) return status;
  }
  return absl::OkStatus();
}

Progress Coordinator::GetProgress(int64_t from_step) const {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = options_.clock->Now();
  Progress progress;
  progress.state = State();
  if (progress.state == TrainingState::kGathering) {
    progress.message =
        !opening_error_.empty()             ? opening_error_
        : !membership_.rejections().empty() ? membership_.rejections()
        : membership_.missing().empty()
            ? "reading the newest checkpoint"
            : absl::StrCat("waiting for shard ", absl::StrJoin(membership_.missing(), ", "));
  } else if (progress.state == TrainingState::kFailed) {
    progress.message = leases_->failure();
  } else if (!membership_.rejections().empty()) {
    progress.message = membership_.rejections();
  } else if (!membership_.trouble().empty()) {
    progress.message = membership_.trouble();
  } else if (const auto silent = membership_.FindSilent(now, kSilence)) {
    progress.message =
        absl::StrCat("shard ", silent->shard, " at ", silent->address, " has been silent for ",
                     absl::FormatDuration(absl::Trunc(silent->since, absl::Seconds(1))));
  }
  progress.job_name = options_.job.name;
  progress.job_hash = job_hash_;
  progress.generation = membership_.generation();
  progress.shard_count = options_.shard_count;
  progress.step = leases_ ? leases_->step() : 0;
  progress.max_steps = options_.job.max_steps;
  progress.expired_leases = expired_;
  progress.failed_leases = failed_;
  progress.duplicate_results = duplicates_;
  progress.speculative_leases = speculative_before_ + (leases_ ? leases_->speculative() : 0);
  progress.arithmetic = arithmetic_;
  if (options_.job.checkpoint) {
    progress.checkpoint = {plan_.newest(), plan_.under_way(), plan_.failures(), plan_.error(),
                           plan_.skipped()};
  }
  history_.Fill(from_step, now, progress);
  return progress;
}

void Coordinator::ExpireLeases(absl::Duration now) {
  if (!leases_) return;
  for (const Lease& lease : leases_->Expire(now)) {
    ++expired_;
    options_.log->warn("lease expired lease={} kind={} step={} slot={} after={}", lease.id,
                       KindName(lease.kind), lease.step, lease.slot,
                       absl::FormatDuration(lease.deadline));
  }
}

void Coordinator::Tick() {
  Answers answers;
  std::string failure;
  uint64_t generation = 0;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    ExpireLeases(now);
    GiveUpLastCheckpoint(now);
    ServeWaiting(now, answers);
    if (leases_) failure = leases_->failure();
    generation = membership_.generation();
  }
  if (!failure.empty()) {
    statistics_.End(generation, absl::AbortedError(absl::StrCat("the training failed: ", failure)));
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
}

void Coordinator::Close() {
  std::deque<Waiting> waiting;
  uint64_t generation = 0;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    waiting.swap(waiting_);
    generation = membership_.generation();
  }
  for (const Waiting& each : waiting) each.done(Closing());
  statistics_.End(generation, Closing());
}

}  // namespace percentdelta

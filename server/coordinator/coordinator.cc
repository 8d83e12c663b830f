#include "server/coordinator/coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/job/job_codec.h"

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

ClusterView Coordinator::view() const {
  absl::MutexLock lock(&mutex_);
  return ViewNow();
}

ClusterView Coordinator::ViewNow() const {
  ClusterView view;
  view.missing = membership_.missing();
  // A process that is new must not enter the generation that it has ended.
  if (membership_.needs_generation()) return view;
  view.generation = membership_.generation();
  view.addresses = membership_.addresses();
  view.checkpoint = begin_checkpoint_;
  view.step = begin_step_;
  return view;
}

absl::StatusOr<ClusterView> Coordinator::Heartbeat(const ShardBeat& beat) {
  Answers answers;
  absl::StatusOr<ClusterView> view;
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
    const bool is_member = membership_.IsMember(beat);
    if (is_member) TakeParts(beat);
    if (is_member && leases_ && beat.generation == membership_.generation()) {
      TakeGathered(beat.shard, beat.gathered_steps, now);
      TakeMissing(beat, now);
    }
    ServeWaiting(now, answers);
    view = ViewOf(beat);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
  if (newcomer && options_.call_back != nullptr) options_.call_back(*newcomer);
  return view;
}

// What is open is not for a process that is not registered.
ClusterView Coordinator::ViewOf(const ShardBeat& beat) const {
  if (membership_.IsMember(beat)) return ViewNow();
  ClusterView view;
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

absl::Status Coordinator::CheckWorker(const WorkerIdentity& worker, absl::Duration now) {
  RETURN_IF_ERROR(CheckName("worker", worker.name));
  RETURN_IF_ERROR(CheckName("arithmetic", worker.arithmetic));
  RETURN_IF_ERROR(CheckName("data", worker.data));
  if (arithmetic_.empty()) arithmetic_ = worker.arithmetic;
  if (worker.arithmetic != arithmetic_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "worker ", worker.name, ": expected arithmetic ", arithmetic_,
        " as the first worker's, got ", worker.arithmetic,
        ": the weights' last bits would depend on who computed; start every worker from the same"
        " version, with an --isa that all have"));
  }
  if (data_.empty()) data_ = worker.data;
  if (!worker.data.empty() && worker.data != data_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "worker ", worker.name, ": expected the first worker's data ", data_.substr(0, 12),
        ", got data ", worker.data.substr(0, 12),
        " of the same size: the weights would depend on who computed; give every worker the same"
        " data set with --data"));
  }
  return roster_.CheckWelcome(worker.name, now);
}

std::optional<Lease> Coordinator::NextLease(const std::string& worker, absl::Duration now) {
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
  if (!roster_.CheckWelcome(worker, now).ok()) return std::nullopt;  // Acquire will say so
  std::optional<Lease> next = leases_->Next(worker, now);
  if (next && !first_lease_) first_lease_ = now;
  return next;
}

uint64_t Coordinator::Acquire(const WorkerIdentity& worker, absl::Duration max_wait,
                              LeaseCallback done) {
  Answers answers;
  uint64_t id = 0;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    if (closed_) {
      answers.emplace_back(std::move(done), Closing());
    } else if (absl::Status status = CheckWorker(worker, now); !status.ok()) {
      answers.emplace_back(std::move(done), status);
    } else {
      roster_.See(worker.name, now);
      id = next_wait_++;
      max_wait = std::clamp(max_wait, absl::ZeroDuration(), kLongestWait);
      waiting_.push_back({id, worker, now + max_wait, std::move(done)});
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
  bool more = true;  // there may be work for those who wait
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    std::optional<Lease> lease;
    if (more) lease = NextLease(waiting->worker.name, now);
    more = lease.has_value() || (leases_ && leases_->choosy());
    // Calls that have waited long enough are answered regardless of those before them.
    if (!lease && waiting->until > now) {
      ++waiting;
      continue;
    }
    answers.emplace_back(std::move(waiting->done), lease.value_or(Lease{}));
    waiting = waiting_.erase(waiting);
  }
}

void Coordinator::CheckWaiting(absl::Duration now, Answers& answers) {
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    absl::Status status = CheckWorker(waiting->worker, now);
    if (status.ok()) {
      ++waiting;
      continue;
    }
    answers.emplace_back(std::move(waiting->done), std::move(status));
    waiting = waiting_.erase(waiting);
  }
}

void Coordinator::Gathered(uint64_t generation, int32_t shard, int64_t steps) {
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || !CheckGeneration(generation).ok()) return;
    const absl::Duration now = options_.clock->Now();
    TakeGathered(shard, steps, now);
    ServeWaiting(now, answers);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
}

void Coordinator::TakeGathered(int32_t shard, int64_t steps, absl::Duration now) {
  gathered_[shard] = std::max(gathered_[shard], steps);
  const int64_t confirmed = *std::min_element(gathered_.begin(), gathered_.end());
  if (const auto mean = leases_->Confirm(confirmed)) RecordStep(*mean, now);
  LogEnd();
}

void Coordinator::TakeMissing(const ShardBeat& beat, absl::Duration now) {
  for (const LeaseTable::Unfounded& slot :
       leases_->Reopen(beat.gathered_steps, beat.missing_slots, now)) {
    ++failed_;
    options_.log->warn(
        "gradient missing step={} slot={} shard={} worker={}: the worker reported it without having"
        " pushed it; the slot is given out again",
        beat.gathered_steps, slot.slot, beat.shard, slot.worker);
  }
}

absl::StatusOr<Lease> Coordinator::Complete(const LeaseResult& result) {
  Answers answers;
  absl::StatusOr<Lease> next = Lease{};
  {
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(CheckGeneration(result.generation));
    const absl::Duration now = options_.clock->Now();
    roster_.See(result.worker, now);
    const absl::StatusOr<LeaseTable::Completion> completion = leases_->Complete(result, now);
    if (!completion.ok()) return completion.status();
    Record(*completion, result, now);
    // Those that wait have waited longer.
    ServeWaiting(now, answers);
    std::optional<Lease> lease;
    if (!result.leaving) lease = NextLease(result.worker, now);
    if (lease) next = *std::move(lease);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
  return next;
}

bool Coordinator::failed() const {
  absl::MutexLock lock(&mutex_);
  return State() == TrainingState::kFailed;
}

absl::StatusOr<absl::Duration> Coordinator::Renew(uint64_t generation, uint64_t lease_id,
                                                  const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckGeneration(generation));
  const absl::Duration now = options_.clock->Now();
  roster_.See(worker, now);
  return leases_->Renew(lease_id, now);
}

double Coordinator::SecondsAt(absl::Duration now) const {
  return seconds_before_ + (first_lease_ ? absl::ToDoubleSeconds(now - *first_lease_) : 0);
}

void Coordinator::Record(const LeaseTable::Completion& completion, const LeaseResult& result,
                         absl::Duration now) {
  if (completion.kind == LeaseTable::Completion::Kind::kDuplicate) ++duplicates_;
  if (completion.kind == LeaseTable::Completion::Kind::kFailed) {
    ++failed_;
    // What is nobody's fault is logged where it happens.
    if (!result.caused_by_environment) {
      options_.log->warn("lease failed lease={} worker={} reason=\"{}\"", result.lease_id,
                         result.worker, result.failure);
    }
  }
  if (completion.trained_examples > 0) {
    history_.AddLease(completion.trained_examples, {result.pull, result.compute, result.push}, now);
  }
  if (completion.training) RecordStep(*completion.training, now);
  if (completion.evaluation) {
    ProgressPoint point = *completion.evaluation;
    point.seconds = SecondsAt(now);
    history_.AddEvaluation(point);
    options_.log->info("evaluated step={} accuracy={:.4f} loss={:.4f}", point.step, point.accuracy,
                       point.loss);
  }
  LogEnd();
}

void Coordinator::RecordStep(ProgressPoint point, absl::Duration now) {
  point.seconds = SecondsAt(now);
  history_.AddTraining(point);
  if (now - last_log_ < kLogInterval) return;
  last_log_ = now;
  options_.log->info("progress step={} of={} loss={:.4f}", leases_->step(), options_.job.max_steps,
                     point.loss);
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
                                           const std::vector<TensorStatistics>& updates) {
  int64_t present = 0;
  {
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(CheckGeneration(generation));
    present = leases_->step();
  }
  for (const TensorStatistics& update : updates) {
    // A step is not applied before all of its slots have been leased.
    if (update.step > present) {
      return absl::InvalidArgumentError(
          absl::StrCat("statistics: expected a step of at most ", present, ", got ", update.step));
    }
    RETURN_IF_ERROR(statistics_.Add(generation, update));
  }
  return absl::OkStatus();
}

std::string Coordinator::HeldUpBecause(absl::Duration now) const {
  if (std::string why = membership_.rejections(); !why.empty()) return why;
  if (std::string trouble = membership_.trouble(); !trouble.empty()) return trouble;
  if (const auto silent = membership_.FindSilent(now, kSilence)) {
    return absl::StrCat("shard ", silent->shard, " at ", silent->address, " has been silent for ",
                        absl::FormatDuration(absl::Trunc(silent->since, absl::Seconds(1))));
  }
  if (leases_->finished()) return "the last checkpoint is being written";
  if (std::string why = leases_->HeldUpBecause(); !why.empty()) return why;
  if (std::string why = roster_.AllAwayBecause(now); !why.empty()) return why;
  return roster_.Count(now) == 0 ? "no worker has been heard of in the last minute" : "";
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
  } else if (progress.state == TrainingState::kTraining) {
    progress.message = HeldUpBecause(now);
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
  progress.data = data_;
  progress.workers = roster_.Count(now);
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

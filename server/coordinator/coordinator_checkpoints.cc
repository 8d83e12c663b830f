// What the coordinator does with checkpoints.
//
// Opening a generation: when all shards are there and one of them is a new process, the newest
// whole checkpoint is looked for, the generation's number is put on disk, and only then are the
// shards told of both. If that fails, or if there are checkpoints and none is whole, no generation
// is opened: the reason is in the progress, and it is tried again each second. Each reads its
// slices and says that it has entered; the leases begin when all have.
//
// Taking a checkpoint: the plan decides before the first lease of a step whether the weights it
// leads to are kept. The shards write their parts and tell of them in their beats. When all parts
// are there, and all that is to be known of the steps before (statistics, evaluations), the history
// and the manifest are written, and with the manifest it is a checkpoint. Before that the store
// looks at each file: a shard may see another directory than the coordinator.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/job/job_codec.h"
#include "server/coordinator/coordinator.h"

namespace percentdelta {
namespace {

// After a checkpoint could not be read, or a manifest not written.
constexpr absl::Duration kTryAgain = absl::Seconds(1);

// What is waited for at most: statistics that come late, which a checkpoint can do without; and the
// last checkpoint of a training, without which its workers cannot be kept for ever.
constexpr absl::Duration kStatisticsWait = absl::Seconds(10);
constexpr absl::Duration kLastCheckpointWait = absl::Seconds(60);

// The same where the disk is not slow but refuses.
constexpr absl::Duration kFailedLastCheckpointWait = absl::Seconds(10);

std::vector<ProgressPoint> Before(int64_t step, const std::vector<ProgressPoint>& points) {
  std::vector<ProgressPoint> before;
  for (const ProgressPoint& point : points) {
    if (point.step < step) before.push_back(point);
  }
  return before;
}

}  // namespace

struct Coordinator::Due {
  Manifest manifest;
  std::vector<FileEntry> files;
  History history;
  int64_t begun_at = 0;
};

void Coordinator::WorkOnCheckpoints() {
  OpenFromDisk();
  CompleteCheckpoint();
}

absl::StatusOr<std::optional<Checkpoint>> Coordinator::FindBegin() const {
  if (options_.store != nullptr) {
    absl::StatusOr<std::optional<Checkpoint>> newest = options_.store->FindNewest(options_.job);
    if (!newest.ok() || newest->has_value()) return newest;
  }
  if (options_.restore.empty()) return std::optional<Checkpoint>();
  absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(options_.restore, options_.job);
  if (!checkpoint.ok()) return checkpoint.status();
  return std::optional<Checkpoint>(*std::move(checkpoint));
}

void Coordinator::OpenFromDisk() {
  uint64_t generation = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || !membership_.needs_generation() || !NeedsDisk()) return;
    if (options_.clock->Now() < open_again_at_) return;
    generation = membership_.next_generation();
  }
  const absl::StatusOr<std::optional<Checkpoint>> begin = FindBegin();
  absl::Status status = begin.status();
  if (status.ok() && options_.store != nullptr) {
    generation = std::max(generation, options_.store->ReadGeneration() + 1);
    status = options_.store->WriteGeneration(generation, options_.job);
  }
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    if (closed_) return;
    const std::string error(status.message());
    if (!status.ok()) {
      if (error != opening_error_) options_.log->error("no generation opened error=\"{}\"", error);
      opening_error_ = error;
      open_again_at_ = now + kTryAgain;
      return;
    }
    opening_error_.clear();
    OpenGeneration(generation, *begin, answers);
    ServeWaiting(now, answers);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
}

void Coordinator::OpenGeneration(uint64_t at_least, const std::optional<Checkpoint>& begin,
                                 Answers& answers) {
  membership_.Open(at_least);
  begin_checkpoint_ = begin ? begin->directory : "";
  begin_step_ = begin ? begin->manifest.step : 0;
  const History known = begin ? begin->history : History();
  plan_.Begin(begin_step_, begin.has_value());
  if (leases_) speculative_before_ += leases_->speculative();
  LeaseTable::Options leases;
  leases.generation = membership_.generation();
  leases.first_step = begin_step_;
  leases.first_evaluated =
      !known.evaluations.empty() && known.evaluations.back().step == begin_step_;
  leases.deadline = options_.lease_deadline;
  leases.keeps = [this](int64_t step) {
    mutex_.AssertHeld();
    return Keeps(step);
  };
  leases_.emplace(options_.job, std::move(leases), roster_);
  gathered_.assign(options_.shard_count, begin_step_);
  history_.Begin(known.training, known.evaluations);
  statistics_.Begin(membership_.generation(), begin_step_, known.statistics);
  seconds_before_ = history_.seconds();
  first_lease_.reset();
  statistics_awaited_.reset();
  last_awaited_.reset();
  last_given_up_ = false;
  end_logged_ = false;
  options_.log->info("generation opened generation={} shards={} step={} checkpoint={} addresses={}",
                     membership_.generation(), options_.shard_count, begin_step_,
                     begin ? begin_checkpoint_ : "none",
                     absl::StrJoin(membership_.addresses(), ","));
  // The training goes on as it began: workers that joined meanwhile may not fit.
  if (!known.arithmetic.empty()) arithmetic_ = known.arithmetic;
  if (!known.data.empty()) data_ = known.data;
  CheckWaiting(options_.clock->Now(), answers);
}

bool Coordinator::Keeps(int64_t step) {
  const int64_t skipped = plan_.skipped();
  const bool keeps = plan_.Keeps(step);
  if (plan_.skipped() > skipped) {
    options_.log->warn("checkpoint skipped step={}: the one before is still being written", step);
  }
  return keeps;
}

void Coordinator::TakeParts(const ShardBeat& beat) {
  if (beat.generation != membership_.generation()) return;
  for (const CheckpointPart& part : beat.parts) {
    const int64_t failures = plan_.failures();
    plan_.AddPart(beat.shard, part);
    if (plan_.failures() > failures) {
      options_.log->error("checkpoint failed step={} error=\"{}\"", part.step, part.error);
    }
  }
  LogEnd();
}

absl::StatusOr<int64_t> Coordinator::TakeCheckpoint() {
  absl::MutexLock lock(&mutex_);
  if (!options_.job.checkpoint) {
    return absl::FailedPreconditionError(
        "expected a job with checkpoints, got one without; add checkpoint { every_steps, directory "
        "}"
        " to it");
  }
  const TrainingState state = State();
  if (state == TrainingState::kGathering) {
    return absl::UnavailableError("shards are still gathering");
  }
  if (state != TrainingState::kTraining) {
    return absl::FailedPreconditionError(
        absl::StrCat("expected a training that goes on, got one that is ", ToString(state),
                     "; its newest checkpoint is of step ", plan_.newest()));
  }
  plan_.Request();
  return std::min(leases_->step() + 1, options_.job.max_steps);
}

std::optional<Coordinator::Due> Coordinator::FindDue() {
  const std::optional<CheckpointPlan::Parts> parts = plan_.Whole();
  if (!parts || !leases_ || closed_ || membership_.needs_generation()) return std::nullopt;
  if (retry_at_ && options_.clock->Now() < *retry_at_) return std::nullopt;
  if (std::min(leases_->step(), leases_->oldest_unevaluated()) < parts->step) return std::nullopt;
  // Whoever finds the last one finds a training that is finished, and need not evaluate it again.
  const bool last = parts->step == options_.job.max_steps;
  if (last && !leases_->finished()) return std::nullopt;
  const absl::Duration now = options_.clock->Now();
  if (!statistics_.WholeBefore(parts->step)) {
    if (!statistics_awaited_) statistics_awaited_ = now;
    if (now - *statistics_awaited_ < kStatisticsWait) return std::nullopt;
  }
  Progress curves;
  history_.Fill(0, now, curves);
  Due due;
  due.files = parts->files;
  due.manifest.step = parts->step;
  due.manifest.generation = membership_.generation();
  due.manifest.shards = options_.shard_count;
  due.manifest.job_hash = job_hash_;
  due.manifest.job = JobToText(options_.job);
  due.history.training = Before(parts->step, curves.training);
  due.history.evaluations = Before(last ? parts->step + 1 : parts->step, curves.evaluations);
  due.history.arithmetic = arithmetic_;
  due.history.data = data_;
  due.begun_at = begin_step_;
  return due;
}

void Coordinator::CompleteCheckpoint() {
  std::optional<Due> due;
  {
    absl::MutexLock lock(&mutex_);
    due = FindDue();
  }
  if (!due) return;
  const int64_t step = due->manifest.step;
  due->history.statistics = statistics_.Range(0, step - 1, "");
  // Nobody else opens a generation meanwhile: that is this thread's work too.
  const absl::Status status =
      options_.store->Complete(due->manifest, due->files, due->history, due->begun_at);
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    const bool repeated = plan_.error() == status.message();
    plan_.End(step, status);
    statistics_awaited_.reset();
    retry_at_.reset();
    if (!status.ok()) retry_at_ = options_.clock->Now() + kTryAgain;
    if (status.ok()) {
      options_.log->info("checkpoint complete step={}", step);
    } else if (!repeated) {  // the last one is tried again each second
      options_.log->error("checkpoint failed step={} error=\"{}\"", step, status.message());
    }
    LogEnd();
    ServeWaiting(options_.clock->Now(), answers);
  }
  for (auto& [done, lease] : answers) done(std::move(lease));
}

void Coordinator::GiveUpLastCheckpoint(absl::Duration now) {
  if (!leases_ || !leases_->finished() || !plan_.under_way() || last_given_up_) return;
  if (!last_awaited_) last_awaited_ = now;
  const absl::Duration wait =
      plan_.error().empty() ? kLastCheckpointWait : kFailedLastCheckpointWait;
  if (now - *last_awaited_ < wait) return;
  last_given_up_ = true;
  options_.log->error(
      "the last checkpoint is not there after {}: the workers are let go; the servers"
      " go on trying",
      absl::FormatDuration(wait));
  LogEnd();
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/training.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/job/job_codec.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kMaxSilence = absl::Seconds(5);

}  // namespace

Training::Training(const Job& job, const std::string& job_hash, Options options)
    : job_(job),
      job_hash_(job_hash),
      options_(std::move(options)),
      membership_(options_.shard_count, job_hash_, options_.first_generation),
      roster_(options_.max_workers),
      compatibility_(job_.any_arithmetic),
      record_(options_.history_steps, job_.max_steps, options_.log),
      checkpoints_(job_, options_.shard_count, options_.log),
      operators_(options_.shard_count, job_.max_steps) {}

void Training::Open(uint64_t at_least, const std::optional<Checkpoint>& checkpoint,
                    absl::Duration now) {
  activity_.CheckShards(membership_, this->step(), now);
  const History restored = checkpoint ? checkpoint->history : History();
  const int64_t step = checkpoint ? checkpoint->manifest.step : 0;
  membership_.Open(at_least, checkpoint ? checkpoint->directory : "", step);
  checkpoints_.Begin(step, checkpoint.has_value());
  record_.Begin(leases_ ? &*leases_ : nullptr);
  record_.history().Begin(restored.training, restored.evaluations);
  LeaseTable::Options leases;
  leases.generation = membership_.generation();
  leases.first_step = step;
  leases.first_evaluated =
      !restored.evaluations.empty() && restored.evaluations.back().step == step;
  leases.deadline = options_.lease_deadline;
  leases.max_deadlines = options_.max_lease_deadlines;
  leases.for_checkpoint = [this](int64_t next) {
    const bool starts = checkpoints_.StartIfDue(next);
    if (starts) operators_.SetDrainStep(next);
    return starts;
  };
  leases_.emplace(job_, std::move(leases), roster_);
  gathered_.assign(options_.shard_count, step);
  end_recorded_ = false;
  activity_.Add(ClusterEvent::Kind::kGeneration, step, now,
                absl::StrCat("generation ", membership_.generation(), " opened at step ", step,
                             checkpoint ? ", from a checkpoint" : ""));
  compatibility_.Restore(restored.arithmetic, restored.other_arithmetic, restored.data);
  options_.log->info("generation opened generation={} shards={} step={} checkpoint={} addresses={}",
                     membership_.generation(), options_.shard_count, step,
                     checkpoint ? checkpoint->directory : "none",
                     absl::StrJoin(membership_.addresses(), ","));
  operators_.ForgetDrainStep();
  if (operators_.draining()) BeginDrain(now);
}

absl::Status Training::CheckGeneration(uint64_t generation) const {
  if (generation == membership_.generation() && generation != 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("generation: expected ", membership_.generation(), ", got ", generation));
}

TrainingState Training::state() const {
  if (operators_.drained()) return TrainingState::kDrained;
  if (!leases_ || membership_.needs_generation()) return TrainingState::kGathering;
  if (!leases_->failure().empty()) return TrainingState::kFailed;
  if (operators_.draining()) return TrainingState::kDraining;
  if (leases_->finished() && !checkpoints_.holds_workers()) return TrainingState::kFinished;
  return operators_.paused() ? TrainingState::kPaused : TrainingState::kTraining;
}

void Training::TakeBeat(const ShardBeat& beat, absl::Duration now) {
  if (!leases_ || beat.generation != membership_.generation()) return;
  checkpoints_.AddParts(beat.shard, beat.parts);
  ContinueDrain(now);
  LogEnd();
  TakeGathered(beat.shard, beat.gathered_steps, now);
  for (const LeaseTable::MissingGradient& missing :
       leases_->Reopen(beat.gathered_steps, beat.missing_slots, now)) {
    record_.AddMissing(beat, missing);
    activity_.Add(ClusterEvent::Kind::kFault, beat.gathered_steps, now,
                  absl::StrCat("shard ", beat.shard, " lacks the gradient of slot ", missing.slot,
                               " that worker ", missing.worker, " reported"));
  }
}

void Training::TakeGathered(int32_t shard, int64_t steps, absl::Duration now) {
  gathered_[shard] = std::max(gathered_[shard], steps);
  const int64_t confirmed = *std::min_element(gathered_.begin(), gathered_.end());
  const std::optional<ProgressPoint> mean = leases_->Confirm(confirmed);
  if (mean) {
    record_.AddStep(*mean, leases_->step(), now);
    EndStep();
  }
  LogEnd();
}

// A step has ended. The first one decides what workers must have in common.
void Training::EndStep() {
  if (compatibility_.Deliver(leases_->contributors()) || membership_.needs_generation()) return;
  membership_.RequireGeneration();
  options_.log->warn(
      "workers of several arithmetics or data sets took part in step {}: it is done again, by"
      " those with arithmetic=\"{}\" data={}",
      leases_->step() - 1, compatibility_.arithmetic(), compatibility_.data().substr(0, 12));
}

absl::Status Training::CheckWorker(const WorkerIdentity& worker, absl::Duration now) {
  RETURN_IF_ERROR(compatibility_.Check(worker));
  RETURN_IF_ERROR(roster_.CheckRoom(worker.name, now));
  return roster_.CheckNotSuspended(worker.name, now);
}

void Training::SeeWorker(const WorkerIdentity& worker, absl::Duration now) {
  roster_.See(worker, now);
  operators_.WorkerCame(worker.name);
  activity_.SeeWorker(worker.name, step(), now);
}

void Training::SeeAgain(const std::string& worker, absl::Duration now) {
  if (!roster_.CheckRoom(worker, now).ok()) return;
  roster_.See(worker, now);
  activity_.SeeWorker(worker, step(), now);
}

std::optional<Lease> Training::NextLease(const std::string& worker, absl::Duration now) {
  Lease lease;
  switch (state()) {
    case TrainingState::kGathering:
    case TrainingState::kPaused:
      return std::nullopt;
    case TrainingState::kDrained:
      return LastLease(worker);
    case TrainingState::kFinished:
      operators_.TellWorker(worker);
      lease.kind = Lease::Kind::kFinished;
      return lease;
    case TrainingState::kFailed:
      lease.kind = Lease::Kind::kFailed;
      lease.message = leases_->failure();
      return lease;
    case TrainingState::kTraining:
    case TrainingState::kDraining:
      if (!membership_.entered()) return std::nullopt;
      break;
  }
  // The worker's next call of Acquire() returns the reason.
  const WorkerIdentity identity = roster_.IdentityOf(worker);
  if (!roster_.CheckNotSuspended(worker, now).ok()) return std::nullopt;
  if (!compatibility_.Check(identity).ok()) return std::nullopt;
  std::optional<Lease> next = leases_->Next(worker, now, operators_.work_below());
  if (!next) return std::nullopt;
  record_.history().StartTime(now);
  compatibility_.Give(identity);
  activity_.AddLease(worker, *next, now);
  return next;
}

absl::Status Training::Complete(const LeaseResult& result, absl::Duration now) {
  RETURN_IF_ERROR(CheckGeneration(result.generation));
  RETURN_IF_ERROR(CheckName("worker", result.worker));
  RETURN_IF_ERROR(leases_->CheckHolder(result.lease_id, result.worker));
  SeeAgain(result.worker, now);
  ASSIGN_OR_RETURN(const LeaseTable::Completion completion, leases_->Complete(result, now));
  record_.AddResult(completion, result, leases_->step(), now);
  activity_.AddResult(result, completion.trained_examples, leases_->step(), now);
  if (completion.training) EndStep();
  if (result.leaving) operators_.TellWorker(result.worker);
  LogEnd();
  return absl::OkStatus();
}

absl::StatusOr<absl::Duration> Training::Renew(uint64_t generation, uint64_t lease_id,
                                               const std::string& worker, absl::Duration now) {
  RETURN_IF_ERROR(CheckGeneration(generation));
  RETURN_IF_ERROR(CheckName("worker", worker));
  RETURN_IF_ERROR(leases_->CheckHolder(lease_id, worker));
  SeeAgain(worker, now);
  return leases_->Renew(lease_id, now);
}

void Training::RecordActivity(absl::Duration now) {
  activity_.CheckShards(membership_, step(), now);
  if (now - workers_checked_ >= absl::Seconds(1)) {
    workers_checked_ = now;
    activity_.CheckWorkers(roster_, step(), now);
  }
  const TrainingState now_state = state();
  const bool failed = now_state == TrainingState::kFailed;
  if (end_recorded_ || (!failed && now_state != TrainingState::kFinished)) return;
  end_recorded_ = true;
  activity_.Add(ClusterEvent::Kind::kEnd, step(), now,
                failed ? absl::StrCat("the training failed: ", leases_->failure())
                       : "the training is finished");
}

ClusterActivity Training::GetActivity(absl::Duration now) const {
  ClusterActivity activity;
  activity.shards.reserve(options_.shard_count);
  for (int i = 0; i < options_.shard_count; ++i) {
    activity.shards.push_back(membership_.Activity(i, now));
  }
  activity.workers = activity_.Workers(roster_, now);
  return activity;
}

void Training::Tick(absl::Duration now) {
  RecordActivity(now);
  if (!leases_) return;
  for (const Lease& lease : leases_->Expire(now)) {
    record_.AddExpired(lease);
    activity_.AddExpired(lease, now);
  }
  if (leases_->finished() && checkpoints_.LetWorkersGo(now)) LogEnd();
  ContinueDrain(now);
}

absl::StatusOr<int64_t> Training::RequestCheckpoint() {
  if (!job_.checkpoint) {
    return absl::FailedPreconditionError(
        "expected a job with checkpoints, got one without; add checkpoint { every_steps, directory"
        " } to it");
  }
  if (state() == TrainingState::kGathering) {
    return absl::UnavailableError("shards are still gathering");
  }
  if (state() != TrainingState::kTraining) {
    return absl::FailedPreconditionError(
        absl::StrCat("expected a training that is running, got one that is ", ToString(state()),
                     "; its newest checkpoint is of step ", checkpoints_.progress().step));
  }
  checkpoints_.Request();
  return std::min(leases_->step() + 1, job_.max_steps);
}

std::optional<Training::ReadyCheckpoint> Training::FindReadyCheckpoint(
    const StatisticsRing& statistics, const HistogramRing& histograms, absl::Duration now) {
  if (!leases_ || membership_.needs_generation()) return std::nullopt;
  const std::optional<CheckpointPlan::Parts> parts =
      checkpoints_.FindReady(*leases_, statistics, histograms, now);
  if (!parts) return std::nullopt;
  ReadyCheckpoint ready;
  ready.manifest.step = parts->step;
  ready.manifest.generation = membership_.generation();
  ready.manifest.shards = options_.shard_count;
  ready.manifest.job_hash = job_hash_;
  ready.manifest.job = JobToText(job_);
  ready.files = parts->files;
  const bool last = parts->step == job_.max_steps;
  ready.history.training = record_.history().TrainingBefore(parts->step);
  ready.history.evaluations =
      record_.history().EvaluationsBefore(last ? parts->step + 1 : parts->step);
  ready.history.arithmetic = compatibility_.arithmetic();
  ready.history.other_arithmetic = compatibility_.other_arithmetic();
  ready.history.data = compatibility_.data();
  ready.initial_step = membership_.first_step();
  return ready;
}

void Training::EndCheckpoint(int64_t step, const absl::Status& result, absl::Duration now) {
  checkpoints_.End(step, result, now);
  activity_.Add(
      result.ok() ? ClusterEvent::Kind::kCheckpoint : ClusterEvent::Kind::kCheckpointFailed, step,
      now,
      result.ok() ? absl::StrCat("the checkpoint of step ", step, " is complete")
                  : absl::StrCat("the checkpoint of step ", step, " failed: ", result.message()));
  ContinueDrain(now);
  LogEnd();
}

void Training::LogEnd() { record_.LogEnd(state(), *leases_); }

// What the opening of a generation waits for.
std::string Training::GatheringReason() const {
  if (std::string reason = membership_.rejections(); !reason.empty()) return reason;
  const std::vector<int32_t> missing = membership_.missing();
  return missing.empty() ? "reading the newest checkpoint"
                         : absl::StrCat("waiting for shard ", absl::StrJoin(missing, ", "));
}

// What delays the training. Empty: nothing that is known.
std::string Training::DelayReason(absl::Duration now) const {
  if (std::string reason = membership_.rejections(); !reason.empty()) return reason;
  if (std::string problem = membership_.FirstProblem(); !problem.empty()) return problem;
  if (const auto silent = membership_.FindSilent(now, kMaxSilence)) {
    return absl::StrCat("shard ", silent->shard, " at ", silent->address, " has been silent for ",
                        absl::FormatDuration(absl::Trunc(silent->duration, absl::Seconds(1))));
  }
  if (leases_->finished()) return "the last checkpoint is being written";
  if (std::string reason = leases_->DelayReason(); !reason.empty()) return reason;
  if (std::string reason = roster_.WhyAllSuspended(now); !reason.empty()) return reason;
  return roster_.Count(now) == 0 ? "no worker has called in the last minute" : "";
}

TrainingMetrics Training::GetMetrics(absl::Duration now) const {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  TrainingMetrics metrics;
  metrics.progress = GetProgress(kNone, kNone, "", now);
  metrics.missing_shards = static_cast<int>(membership_.missing().size());
  record_.FillMetrics(leases_ ? &*leases_ : nullptr, metrics);
  return metrics;
}

Progress Training::GetProgress(int64_t from_step, int64_t last_step,
                               const std::string& opening_error, absl::Duration now) const {
  Progress progress;
  progress.state = state();
  if (progress.state == TrainingState::kGathering) {
    progress.message = opening_error.empty() ? GatheringReason() : opening_error;
  } else if (progress.state == TrainingState::kFailed) {
    progress.message = leases_->failure();
  } else if (progress.state == TrainingState::kTraining) {
    progress.message = DelayReason(now);
  } else if (progress.state != TrainingState::kFinished) {
    progress.message = OperatorMessage(now);
  }
  progress.job_name = job_.name;
  progress.job_hash = job_hash_;
  progress.generation = membership_.generation();
  progress.shard_count = options_.shard_count;
  progress.arithmetic = compatibility_.arithmetic();
  progress.any_arithmetic = job_.any_arithmetic;
  progress.other_arithmetic = compatibility_.other_arithmetic();
  progress.data = compatibility_.data();
  progress.workers = roster_.Count(now);
  if (job_.checkpoint) progress.checkpoint = checkpoints_.progress();
  record_.Fill(from_step, last_step, now, leases_ ? &*leases_ : nullptr, progress);
  return progress;
}

}  // namespace percentdelta

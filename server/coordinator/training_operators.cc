// SPDX-License-Identifier: Apache-2.0

// What operators ask of a training: to pause, to continue, to end cleanly.

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/coordinator/training.h"

namespace percentdelta {

absl::Status Training::Pause(absl::Duration now) {
  if (!leases_) return absl::UnavailableError("shards are still gathering");
  const TrainingState current = state();
  if (current != TrainingState::kTraining && current != TrainingState::kPaused &&
      current != TrainingState::kGathering) {
    return absl::FailedPreconditionError(absl::StrCat(
        "pause: expected a training that is running, got one that is ", ToString(current)));
  }
  if (!paused()) {
    options_.log->info("paused step={}", leases_->step());
    activity_.Add(ClusterEvent::Kind::kPause, leases_->step(), now, "paused by an operator");
  }
  operators_.SetPaused(true);
  return absl::OkStatus();
}

absl::Status Training::Resume(absl::Duration now) {
  if (!leases_) return absl::UnavailableError("shards are still gathering");
  if (drained()) {
    return absl::FailedPreconditionError(
        "resume: expected servers that stay, got ones that are ending, because the drain is "
        "complete; start them again");
  }
  if (paused() || operators_.draining()) {
    options_.log->info("resumed step={}", leases_->step());
    activity_.Add(ClusterEvent::Kind::kResume, leases_->step(), now,
                  absl::StrCat("resumed by an operator",
                               operators_.draining() ? ": the drain is abandoned" : ""));
  }
  operators_.AbandonDrain();
  operators_.SetPaused(false);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Training::Drain(absl::Duration now) {
  if (!job_.checkpoint) {
    return absl::FailedPreconditionError(
        "drain: expected a job with checkpoints, got one without, whose weights would be lost; add "
        "checkpoint { every_steps, directory } to it, or save the weights with pdctl export and "
        "stop the servers with SIGTERM");
  }
  if (state() == TrainingState::kGathering) {
    return absl::UnavailableError("shards are still gathering");
  }
  if (state() == TrainingState::kFailed) {
    return absl::FailedPreconditionError(
        absl::StrCat("drain: expected a training that has not failed, got one that has; its newest "
                     "checkpoint is of step ",
                     checkpoints_.progress().step, "; stop the servers with SIGTERM"));
  }
  if (!drained() && !operators_.draining()) {
    options_.log->info("draining step={}", leases_->step());
    activity_.Add(ClusterEvent::Kind::kDrain, leases_->step(), now,
                  "an operator drains the cluster: it ends after its next checkpoint");
    operators_.BeginDrain();
    BeginDrain(now);
  }
  return operators_.drain_step().value_or(std::min(leases_->step() + 1, job_.max_steps));
}

// Finds the drain's checkpoint, or requests it.
void Training::BeginDrain(absl::Duration now) {
  const int64_t step = leases_->step();
  const int64_t newest = checkpoints_.newest_in_progress();
  if (!leases_->step_begun() &&
      (step == membership_.first_step() || step <= checkpoints_.progress().step)) {
    operators_.SetDrainStep(step);  // no step has begun since a checkpoint, or since the start
  } else if (newest >= step + (leases_->step_begun() ? 1 : 0)) {
    operators_.SetDrainStep(newest);
  } else {
    checkpoints_.Request();
  }
  ContinueDrain(now);
}

void Training::ContinueDrain(absl::Duration now) {
  const std::optional<int64_t> step = operators_.drain_step();
  if (!operators_.draining() || !step || membership_.needs_generation()) return;
  if (*step <= std::max(checkpoints_.progress().step, membership_.first_step())) {
    options_.log->info("drained step={}: workers and servers end with exit code 0", *step);
    activity_.Add(ClusterEvent::Kind::kDrain, leases_->step(), now,
                  absl::StrCat("drained: the checkpoint of step ", *step,
                               " is complete; workers and servers end"));
    operators_.CompleteDrain(now);
  } else if (!checkpoints_.in_progress(*step)) {
    options_.log->error("drain abandoned: its checkpoint failed step={}; the training {}", *step,
                        paused() ? "is paused again" : "goes on");
    activity_.Add(ClusterEvent::Kind::kDrain, leases_->step(), now,
                  absl::StrCat("the drain is abandoned, because its checkpoint of step ", *step,
                               " failed; the training ", paused() ? "is paused again" : "goes on"));
    operators_.AbandonDrain();
  }
}

// The answer to a worker's call once the cluster is drained.
Lease Training::LastLease(const std::string& worker) {
  operators_.TellWorker(worker);
  Lease lease;
  lease.kind = leases_->finished() ? Lease::Kind::kFinished : Lease::Kind::kDrained;
  lease.message = absl::StrCat("the training continues from the checkpoint of step ",
                               *operators_.drain_step(), " when its servers are started again");
  return lease;
}

bool Training::WorkersLeft(absl::Duration now) const {
  return roster_.HasOtherThan(operators_.told_workers(), now);
}

bool Training::TellMayEnd(int32_t shard, absl::Duration now) {
  const bool workers_left = WorkersLeft(now);
  if (shard == 0) return operators_.CoordinatorMayEnd(workers_left, now);
  const bool may_end = operators_.ShardsMayEnd(workers_left, now);
  if (may_end) operators_.TellShard(shard, now);
  return may_end;
}

// What is in progress in a state that operators asked for.
std::string Training::OperatorMessage(absl::Duration now) const {
  switch (state()) {
    case TrainingState::kPaused:
      return absl::StrCat("by an operator, with ", leases_->in_flight(),
                          " leases in progress; pdctl resume lets it continue");
    case TrainingState::kDraining: {
      const std::string delay = DelayReason(now);
      return absl::StrCat(
          "the checkpoint of step ",
          operators_.drain_step().value_or(std::min(leases_->step() + 1, job_.max_steps)),
          " or a later one is not complete yet", delay.empty() ? "" : "; ", delay);
    }
    case TrainingState::kDrained:
      return absl::StrCat("the checkpoint of step ", *operators_.drain_step(),
                          " is complete; workers and servers are ending");
    default:
      return "";
  }
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// What operators ask of the coordinator, and its record of a pause.

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/coordinator/coordinator.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kRecordInterval = absl::Seconds(1);  // after a failure

}  // namespace

void Coordinator::RecordPause() {
  uint64_t generation = 0;
  bool paused = false;
  {
    absl::MutexLock lock(&mutex_);
    generation = training_.membership().generation();
    paused = training_.paused();
    if (closed_ || options_.store == nullptr || generation == 0) return;
    if (paused == recorded_pause_ || options_.clock->Now() < record_again_at_) return;
  }
  // No generation opens meanwhile: this is the thread that would open it.
  const absl::Status status = options_.store->WriteGeneration(generation, options_.job, paused);
  absl::MutexLock lock(&mutex_);
  if (status.ok()) {
    recorded_pause_ = paused;
    return;
  }
  record_again_at_ = options_.clock->Now() + kRecordInterval;
  options_.log->warn("cannot record that the training is {} error=\"{}\"",
                     paused ? "paused" : "not paused", status.message());
}

absl::Status Coordinator::Pause() {
  absl::MutexLock lock(&mutex_);
  return training_.Pause(options_.clock->Now());
}

absl::Status Coordinator::Resume() {
  LeaseAnswers answers;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    RETURN_IF_ERROR(training_.Resume(now));
    ServeWaiters(now, answers);
  }
  answers.Send();
  return absl::OkStatus();
}

absl::Status Coordinator::AwaitPauseRecorded(absl::Duration timeout) {
  const auto recorded = [this] {
    mutex_.AssertReaderHeld();
    return closed_ || options_.store == nullptr || recorded_pause_ == training_.paused();
  };
  absl::MutexLock lock(&mutex_);
  if (mutex_.AwaitWithTimeout(absl::Condition(&recorded), timeout)) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the training is ", training_.paused() ? "paused" : "resumed",
                   ", but this is not on disk after ", absl::FormatDuration(timeout),
                   ": a restart of the coordinator would undo it; is the directory "
                   "of checkpoints full or slow? Repeat the command to wait again"));
}

absl::StatusOr<int64_t> Coordinator::Drain() {
  LeaseAnswers answers;
  absl::StatusOr<int64_t> step;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    step = training_.Drain(now);
    ServeWaiters(now, answers);
  }
  answers.Send();
  return step;
}

}  // namespace percentdelta

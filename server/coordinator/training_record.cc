// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/training_record.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kLogInterval = absl::Seconds(10);

absl::string_view KindName(Lease::Kind kind) {
  return kind == Lease::Kind::kEvaluate ? "evaluate" : "train";
}

// "name=value" for each metric.
std::string MetricsText(const std::vector<Metric>& metrics) {
  const auto add = [](std::string* text, const Metric& metric) {
    absl::StrAppendFormat(text, "%s=%.4g", metric.name, metric.value);
  };
  return absl::StrJoin(metrics, " ", add);
}

}  // namespace

void TrainingRecord::Begin(const LeaseTable* previous) {
  ++generations_;
  if (previous != nullptr) {
    speculative_ += previous->speculative();
    issued_ += previous->issued();
  }
  end_logged_ = false;
}

void TrainingRecord::AddExpired(const Lease& lease) {
  ++expired_;
  log_->warn("lease expired lease={} kind={} step={} slot={} after={}", lease.id,
             KindName(lease.kind), lease.step, lease.slot, absl::FormatDuration(lease.deadline));
}

void TrainingRecord::AddMissing(const ShardBeat& beat, const LeaseTable::MissingGradient& missing) {
  ++failed_;
  log_->warn(
      "gradient missing step={} slot={} shard={} worker=\"{}\" reason=\"the worker reported it "
      "without having pushed it; the slot is given to another worker\"",
      beat.gathered_steps, missing.slot, beat.shard, missing.worker);
}

void TrainingRecord::AddResult(const LeaseTable::Completion& completion, const LeaseResult& result,
                               int64_t step, absl::Duration now) {
  if (completion.kind == LeaseTable::Completion::Kind::kDuplicate) ++duplicates_;
  if (completion.kind == LeaseTable::Completion::Kind::kFailed) {
    ++failed_;
    if (!std::isfinite(result.loss_sum)) ++not_finite_;
    // A failure that the worker did not cause is logged by the process that did.
    if (!result.caused_by_environment) {
      log_->warn("lease failed lease={} worker=\"{}\" reason=\"{}\"", result.lease_id,
                 result.worker, result.failure);
    }
  }
  if (completion.trained_examples > 0) {
    examples_ += completion.trained_examples;
    pull_.Add(result.pull);
    compute_.Add(result.compute);
    push_.Add(result.push);
    history_.AddLease(completion.trained_examples, {result.pull, result.compute, result.push}, now);
  }
  if (completion.training) AddStep(*completion.training, step, now);
  if (completion.evaluation) {
    ProgressPoint point = *completion.evaluation;
    point.seconds = history_.SecondsAt(now);
    history_.AddEvaluation(point);
    log_->info("evaluated step={} accuracy={:.4f} loss={:.4f} metrics=\"{}\"", point.step,
               point.accuracy, point.loss, MetricsText(point.metrics));
  }
}

void TrainingRecord::AddStep(ProgressPoint mean, int64_t step, absl::Duration now) {
  mean.seconds = history_.SecondsAt(now);
  history_.AddTraining(mean);
  if (now - last_log_ < kLogInterval) return;
  last_log_ = now;
  log_->info("progress step={} of={} loss={:.4f}", step, max_steps_, mean.loss);
}

void TrainingRecord::LogEnd(TrainingState state, const LeaseTable& leases) {
  if (end_logged_) return;
  if (state == TrainingState::kFinished) {
    log_->info("training finished step={}", leases.step());
  } else if (state == TrainingState::kFailed) {
    log_->error("training failed reason=\"{}\"", leases.failure());
  } else {
    return;
  }
  end_logged_ = true;
}

void TrainingRecord::FillMetrics(const LeaseTable* leases, TrainingMetrics& metrics) const {
  metrics.generations = generations_;
  metrics.leases_given = issued_ + (leases != nullptr ? leases->issued() : 0);
  metrics.examples = examples_;
  metrics.not_finite = not_finite_;
  metrics.pull = pull_.counts();
  metrics.compute = compute_.counts();
  metrics.push = push_.counts();
  metrics.training = history_.last_training();
  metrics.evaluation = history_.last_evaluation();
}

void TrainingRecord::Fill(int64_t from_step, int64_t last_step, absl::Duration now,
                          const LeaseTable* leases, Progress& progress) const {
  progress.max_steps = max_steps_;
  progress.expired_leases = expired_;
  progress.failed_leases = failed_;
  progress.duplicate_results = duplicates_;
  progress.speculative_leases = speculative_;
  if (leases != nullptr) {
    progress.step = leases->step();
    progress.speculative_leases += leases->speculative();
  }
  history_.Fill(from_step, last_step, now, progress);
}

}  // namespace percentdelta

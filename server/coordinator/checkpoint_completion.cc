// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/checkpoint_completion.h"

#include <algorithm>
#include <utility>

namespace percentdelta {
namespace {

constexpr absl::Duration kRetryInterval = absl::Seconds(1);
constexpr absl::Duration kReportsTimeout = absl::Seconds(10);
constexpr absl::Duration kLastTimeout = absl::Seconds(60);
constexpr absl::Duration kFailedLastTimeout = absl::Seconds(10);

}  // namespace

CheckpointCompletion::CheckpointCompletion(const Job& job, int shard_count, Logger log)
    : max_steps_(job.max_steps), log_(std::move(log)), plan_(job, shard_count) {}

void CheckpointCompletion::Begin(int64_t step, bool restored) {
  plan_.Begin(step, restored);
  reports_awaited_since_.reset();
  last_awaited_since_.reset();
  last_abandoned_ = false;
}

bool CheckpointCompletion::StartIfDue(int64_t step) {
  const int64_t skipped = plan_.skipped();
  const bool starts = plan_.StartIfDue(step);
  if (plan_.skipped() > skipped) {
    log_->warn("checkpoint skipped step={} reason=\"the previous one is still being written\"",
               step);
  }
  return starts;
}

void CheckpointCompletion::AddParts(int shard, const std::vector<CheckpointPart>& parts) {
  for (const CheckpointPart& part : parts) {
    const int64_t failures = plan_.failures();
    plan_.AddPart(shard, part);
    if (plan_.failures() > failures) {
      log_->error("checkpoint failed step={} error=\"{}\"", part.step, part.error);
    }
  }
}

std::optional<CheckpointPlan::Parts> CheckpointCompletion::FindReady(
    const LeaseTable& leases, const StatisticsRing& statistics, const HistogramRing& histograms,
    absl::Duration now) {
  std::optional<CheckpointPlan::Parts> parts = plan_.FindComplete();
  if (!parts || (retry_at_ && now < *retry_at_)) return std::nullopt;
  if (std::min(leases.step(), leases.oldest_unevaluated()) < parts->step) return std::nullopt;
  // A server that restores the last one finds the training finished and does not evaluate it again.
  if (parts->step == max_steps_ && !leases.finished()) return std::nullopt;
  if (!statistics.IsCompleteBefore(parts->step) || !histograms.IsWrittenBefore(parts->step)) {
    if (!reports_awaited_since_) reports_awaited_since_ = now;
    if (now - *reports_awaited_since_ < kReportsTimeout) return std::nullopt;
  }
  return parts;
}

void CheckpointCompletion::End(int64_t step, const absl::Status& result, absl::Duration now) {
  const bool repeated = plan_.error() == result.message();
  plan_.End(step, result);
  reports_awaited_since_.reset();
  retry_at_.reset();
  if (result.ok()) {
    log_->info("checkpoint complete step={}", step);
    return;
  }
  retry_at_ = now + kRetryInterval;
  if (!repeated) log_->error("checkpoint failed step={} error=\"{}\"", step, result.message());
}

bool CheckpointCompletion::LetWorkersGo(absl::Duration now) {
  if (!holds_workers()) return false;
  if (!last_awaited_since_) last_awaited_since_ = now;
  const absl::Duration timeout = plan_.error().empty() ? kLastTimeout : kFailedLastTimeout;
  if (now - *last_awaited_since_ < timeout) return false;
  last_abandoned_ = true;
  log_->error(
      "last checkpoint not complete after={} effect=\"workers may leave; the servers still retry "
      "it\"",
      absl::FormatDuration(timeout));
  return true;
}

CheckpointProgress CheckpointCompletion::progress() const {
  return {plan_.newest(), plan_.in_progress(), plan_.failures(), plan_.error(), plan_.skipped()};
}

}  // namespace percentdelta

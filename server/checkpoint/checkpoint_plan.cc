// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_plan.h"

#include <algorithm>

#include "common/job/partition.h"

namespace percentdelta {

CheckpointPlan::CheckpointPlan(const Job& job, int shards) : job_(job) {
  const Partition partition(job.model, shards);
  for (int shard = 0; shard < shards; ++shard) {
    if (!partition.ranges_of_shard(shard).empty()) ++writers_;
  }
}

void CheckpointPlan::Begin(int64_t step, bool restored) {
  pending_.clear();
  newest_ = restored ? step : -1;
}

bool CheckpointPlan::StartIfDue(int64_t step) {
  if (!job_.checkpoint) return false;
  const bool last = step == job_.max_steps;
  if (!last && !requested_ && !job_.CheckpointsAt(step)) return false;
  if (!last && in_progress()) {
    if (job_.CheckpointsAt(step)) ++skipped_;
    return false;
  }
  requested_ = false;
  pending_.emplace(step, Files());
  return true;
}

void CheckpointPlan::AddPart(int shard, const CheckpointPart& part) {
  const auto pending = pending_.find(part.step);
  if (pending == pending_.end()) return;
  if (!part.error.empty()) return End(part.step, absl::UnknownError(part.error));
  pending->second.emplace(shard, part.file);
}

std::optional<CheckpointPlan::Parts> CheckpointPlan::FindComplete() const {
  for (const auto& [step, files] : pending_) {
    if (static_cast<int>(files.size()) < writers_) continue;
    Parts parts;
    parts.step = step;
    for (const auto& [shard, file] : files) parts.files.push_back(file);
    return parts;
  }
  return std::nullopt;
}

void CheckpointPlan::End(int64_t step, const absl::Status& result) {
  const auto pending = pending_.find(step);
  if (pending == pending_.end()) return;
  error_ = std::string(result.message());
  if (result.ok()) {
    newest_ = std::max(newest_, step);
  } else {
    ++failures_;
    if (step == job_.max_steps) return;
  }
  pending_.erase(pending);
}

}  // namespace percentdelta

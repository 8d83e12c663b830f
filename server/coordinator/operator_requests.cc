// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/operator_requests.h"

#include <cstddef>
#include <limits>

namespace percentdelta {
namespace {

constexpr size_t kMaxTold = 10000;

}  // namespace

void OperatorRequests::BeginDrain() {
  if (drain_ == Drain::kNone) drain_ = Drain::kBegun;
}

void OperatorRequests::AbandonDrain() {
  if (drain_ != Drain::kBegun) return;
  drain_ = Drain::kNone;
  drain_step_.reset();
}

void OperatorRequests::SetDrainStep(int64_t step) {
  if (drain_ == Drain::kBegun && !drain_step_) drain_step_ = step;
}

void OperatorRequests::ForgetDrainStep() {
  if (drain_ == Drain::kBegun) drain_step_.reset();
}

int64_t OperatorRequests::work_below() const {
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  // The checkpoint of the last step waits for the evaluation of its weights.
  return drain_step_ && *drain_step_ < max_steps_ ? *drain_step_ : kAll;
}

void OperatorRequests::CompleteDrain(absl::Duration now) {
  drain_ = Drain::kComplete;
  paused_ = false;
  complete_at_ = now;
  last_told_at_ = now;
}

void OperatorRequests::TellWorker(const std::string& worker) {
  if (told_workers_.size() >= kMaxTold)
    told_workers_.clear();  // at worst, a drain waits for kLinger
  told_workers_.insert(worker);
}

void OperatorRequests::TellShard(int32_t shard, absl::Duration now) {
  told_shards_.insert(shard);
  last_told_at_ = now;
}

bool OperatorRequests::ShardsMayEnd(bool workers_left, absl::Duration now) const {
  return drained() && (!workers_left || now - complete_at_ >= kLinger);
}

bool OperatorRequests::CoordinatorMayEnd(bool workers_left, absl::Duration now) const {
  if (!ShardsMayEnd(workers_left, now)) return false;
  if (now - complete_at_ >= 2 * kLinger) return true;
  return static_cast<int>(told_shards_.size()) >= shard_count_ - 1 &&
         now - last_told_at_ >= kLastWords;
}

}  // namespace percentdelta

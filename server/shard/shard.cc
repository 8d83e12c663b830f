// SPDX-License-Identifier: Apache-2.0

#include "server/shard/shard.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace percentdelta {

absl::StatusOr<std::shared_ptr<ShardState>> Shard::At(uint64_t generation) const {
  absl::MutexLock lock(&mutex_);
  if (closed_) return absl::UnavailableError("the shard is shutting down");
  const uint64_t current = state_ == nullptr ? 0 : state_->generation();
  if (current == generation && state_ != nullptr) return state_;
  const std::string message = absl::StrCat("generation: expected ", current, ", got ", generation);
  if (generation > current || state_ == nullptr) {
    return absl::UnavailableError(absl::StrCat(message, ", which this shard has yet to enter"));
  }
  return absl::FailedPreconditionError(message);
}

uint64_t Shard::generation() const {
  absl::MutexLock lock(&mutex_);
  return state_ == nullptr ? 0 : state_->generation();
}

std::shared_ptr<ShardState> Shard::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

void Shard::Open(std::shared_ptr<ShardState> state) {
  const uint64_t generation = state->generation();
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    state_.swap(state);
  }
  if (state == nullptr) return;
  state->Close(absl::FailedPreconditionError(
      absl::StrCat("generation: expected ", generation, ", got ", state->generation())));
}

void Shard::Close() {
  std::shared_ptr<ShardState> state;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    state.swap(state_);
  }
  if (state != nullptr) state->Close(absl::UnavailableError("the shard is shutting down"));
}

}  // namespace percentdelta

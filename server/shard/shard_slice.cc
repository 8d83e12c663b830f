// SPDX-License-Identifier: Apache-2.0

#include "server/shard/shard_slice.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/job/initial_weights.h"
#include "server/update/optimizer.h"

namespace percentdelta {
namespace {

// The number of buffers that a step frees and the next one takes again; more would be unused. These
// are a gradient, which becomes the weights of the next step, and one for a gradient that is
// received meanwhile; with several slots those that wait for their turn, for a usual number of
// workers; and, if the job has checkpoints, the weights and the copies of the state that the last
// one held.
size_t RetainedBuffers(const Job& job, const TensorSpec& tensor) {
  constexpr int32_t kWaiting = 4;
  size_t buffers = 2 + std::min(job.gradients_per_step - 1, kWaiting);
  if (job.checkpoint) buffers += 1 + StateNames(job, tensor).size();
  return buffers;
}

}  // namespace

ShardSlice::ShardSlice(const Job& job, const TensorRange& range, int64_t step)
    : job_(job),
      range_(range),
      buffers_(range.size(), RetainedBuffers(job, job.model.tensors[range.tensor])),
      current_{range, step, nullptr},
      staged_(job.gradients_per_step),
      seen_(job.gradients_per_step) {}

ShardSlice::ShardSlice(const Job& job, const TensorRange& range) : ShardSlice(job, range, 0) {
  const TensorSpec& tensor = job.model.tensors[range.tensor];
  optimizer_state_.resize(StateNames(job, tensor).size(), std::vector<float>(range.size()));
  Buffer initial = buffers_.Take();
  DrawInitialWeights(tensor, job.seed, range.begin, absl::MakeSpan(*initial));
  current_.values = std::move(initial);
  if (job.EvaluatesAt(0)) evaluated_ = current_;
}

ShardSlice::ShardSlice(const Job& job, int64_t step, SliceContent content)
    : ShardSlice(job, content.range, step) {
  for (const auto& array : content.state) optimizer_state_.push_back(std::move(*array));
  current_.values = std::move(content.weights);
  if (job.EvaluatesAt(step)) evaluated_ = current_;
}

absl::StatusOr<ShardSlice::StageResult> ShardSlice::Stage(int64_t step, int32_t slot,
                                                          Buffer gradient, bool for_checkpoint) {
  absl::MutexLock lock(&mutex_);
  if (step > current_.step) {
    return absl::FailedPreconditionError(
        absl::StrCat("tensor ", job_.model.tensors[range_.tensor].name, ": expected step ",
                     current_.step, ", got ", step, ", which this shard has not reached"));
  }
  if (step < current_.step || seen_[slot]) return StageResult::kDuplicate;
  seen_[slot] = true;
  staged_[slot] = std::move(gradient);
  ++staged_count_;
  for_checkpoint_ |= for_checkpoint;
  return staged_count_ == job_.gradients_per_step ? StageResult::kComplete : StageResult::kStaged;
}

bool ShardSlice::Has(int64_t step, int32_t slot) const {
  absl::MutexLock lock(&mutex_);
  return step < current_.step || (step == current_.step && seen_[slot]);
}

int64_t ShardSlice::gathered_steps() const {
  absl::MutexLock lock(&mutex_);
  return current_.step + (staged_count_ == job_.gradients_per_step ? 1 : 0);
}

bool ShardSlice::StartAdding() {
  absl::MutexLock lock(&mutex_);
  if (adding_ || taken_count_ == job_.gradients_per_step || !seen_[taken_count_]) return false;
  adding_ = true;
  return true;
}

ShardSlice::Run ShardSlice::TakeRun() {
  Run run;
  absl::MutexLock lock(&mutex_);
  run.first = taken_count_ == 0;
  while (taken_count_ < job_.gradients_per_step && seen_[taken_count_]) {
    run.gradients.push_back(std::move(staged_[taken_count_++]));
  }
  run.last = taken_count_ == job_.gradients_per_step;
  adding_ = !run.gradients.empty();
  return run;
}

absl::Span<double> ShardSlice::sum() {
  sum_.resize(range_.size());
  return absl::MakeSpan(sum_);
}

bool ShardSlice::for_checkpoint() const {
  absl::MutexLock lock(&mutex_);
  return for_checkpoint_;
}

void ShardSlice::Publish(Buffer next) {
  std::vector<std::shared_ptr<PullSink>> sinks;
  Snapshot published;
  {
    absl::MutexLock lock(&mutex_);
    published_ = std::chrono::steady_clock::now();
    previous_ = std::exchange(current_, {range_, current_.step + 1, std::move(next)});
    if (job_.EvaluatesAt(current_.step)) evaluated_ = current_;
    std::fill(seen_.begin(), seen_.end(), false);
    staged_count_ = 0;
    taken_count_ = 0;
    adding_ = false;
    for_checkpoint_ = false;
    published = current_;
    std::erase_if(waiters_, [&](const Waiter& waiter) {
      if (waiter.step > published.step) return false;
      if (auto sink = waiter.sink.lock()) sinks.push_back(std::move(sink));
      return true;
    });
  }
  for (const auto& sink : sinks) sink->Deliver(published);
}

Snapshot ShardSlice::current() const {
  absl::MutexLock lock(&mutex_);
  return current_;
}

absl::Duration ShardSlice::age() const {
  absl::MutexLock lock(&mutex_);
  return absl::FromChrono(std::chrono::steady_clock::now() - published_);
}

absl::Status ShardSlice::Await(int64_t step, const std::shared_ptr<PullSink>& sink) {
  Snapshot found;
  {
    absl::MutexLock lock(&mutex_);
    if (step > current_.step) {
      if (!closed_.ok()) return closed_;
      std::erase_if(waiters_, [](const Waiter& waiter) { return waiter.sink.expired(); });
      waiters_.push_back({step, sink});
      return absl::OkStatus();
    }
    if (step == current_.step) {
      found = current_;
    } else if (previous_.values != nullptr && previous_.step == step) {
      found = previous_;
    } else if (evaluated_.values != nullptr && evaluated_.step == step) {
      found = evaluated_;
    } else {
      return absl::FailedPreconditionError(
          absl::StrCat("tensor ", job_.model.tensors[range_.tensor].name, ": the weights of step ",
                       step, " are gone; expected step ", current_.step, " or later, got ", step));
    }
  }
  sink->Deliver(std::move(found));
  return absl::OkStatus();
}

void ShardSlice::Close(const absl::Status& reason) {
  std::vector<Waiter> waiters;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = reason;
    waiters.swap(waiters_);
  }
  for (const Waiter& waiter : waiters) {
    if (auto sink = waiter.sink.lock()) sink->End(reason);
  }
}

}  // namespace percentdelta

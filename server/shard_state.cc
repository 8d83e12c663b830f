// The way of a gradient through a shard.
//
//  1. Push (rpc/push.cc) feeds the chunks of a stream to a GradientAssembly, which checks them and
//     copies them into one buffer a slice. Nothing of a slice is visible before all of it is there
//     and right.
//  2. Stage() files the whole buffer under (step, slot). A gradient that was filed or applied
//     before is dropped: that, and only that, makes application exactly-once.
//  3. The caller that files the last slot of a step schedules Reduce() on the pool. From here to
//     step 7 the slice belongs to that one task; no lock is held.
//  4. Reduce() takes the slots' gradients and, block by block on all threads, adds them in slot
//     order in double, divides, and sums the block's norms (phase 1).
//  5. The norms of a whole tensor are its block sums added in block order. A tensor that is split
//     sends its slice's block sums to the tensor's home (NormReducer, over ReduceNorms), which adds
//     those of all slices in that same order: the bits do not depend on the split.
//  6. Apply() changes the weights into a fresh buffer, block by block on all threads (phase 2).
//  7. Publish() makes that buffer the slice's weights at step + 1; pulls that wait for it are
//     handed it by reference, and the slice takes the gradients of the next step.
//  8. The tensor's home reports what the step did to it.
//
// Slices go their ways independently: there is no barrier but the norms of a split tensor.

#include "server/shard_state.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

// The slots' mean, in slot order, into `mean`. One slot is its own mean.
void AverageSlots(const std::vector<Buffer>& slots, int64_t begin, int64_t end,
                  absl::Span<float> mean) {
  std::vector<double> sums(end - begin, 0.0);
  for (const Buffer& slot : slots) {
    const float* values = slot->data() + begin;
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
  }
  const auto count = static_cast<double>(slots.size());
  for (size_t i = 0; i < sums.size(); ++i) mean[i] = static_cast<float>(sums[i] / count);
}

}  // namespace

struct ShardState::Update {
  std::shared_ptr<ShardState> state;  // keeps the slice alive
  ShardSlice* slice = nullptr;
  Snapshot present;
  Buffer gradient;
  NormSums norms;
};

ShardState::ShardState(Options options)
    : options_(std::move(options)),
      partition_(options_.job.model, options_.shards),
      optimizer_(MakeOptimizer(options_.job.optimizer.rule)),
      reducer_(options_.job.model, partition_, options_.shard) {
  for (const Slice& slice : partition_.slices_of_shard(options_.shard)) {
    slices_.push_back(std::make_unique<ShardSlice>(options_.job, slice));
  }
}

absl::StatusOr<ShardSlice*> ShardState::FindSlice(absl::string_view tensor) const {
  const int index = job().model.Find(tensor);
  if (index < 0) {
    return absl::NotFoundError(absl::StrCat("tensor \"", tensor.substr(0, 100),
                                            "\": expected one of job ", job().name, ", got none"));
  }
  for (const auto& slice : slices_) {
    if (slice->slice().tensor == index) return slice.get();
  }
  return absl::NotFoundError(absl::StrCat("tensor ", tensor, ": expected at shard ",
                                          partition_.home(index), ", got at shard ", shard(),
                                          ", which owns no slice of it"));
}

absl::Status ShardState::CheckSlot(int64_t step, int32_t slot) const {
  if (slot < 0 || slot >= job().gradients_per_step) {
    return absl::OutOfRangeError(absl::StrCat("slot: expected 0..", job().gradients_per_step - 1,
                                              ", got ", slot));
  }
  if (step < 0 || step >= job().max_steps) {
    return absl::OutOfRangeError(
        absl::StrCat("step: expected 0..", job().max_steps - 1, ", got ", step));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ShardState::Stage(ShardSlice& slice, int64_t step, int32_t slot,
                                       Buffer gradient) {
  absl::StatusOr<ShardSlice::StageResult> result = slice.Stage(step, slot, std::move(gradient));
  if (!result.ok()) return result.status();
  if (*result == ShardSlice::StageResult::kComplete) {
    options_.pool->Schedule([self = shared_from_this(), &slice] { self->Reduce(slice); });
  }
  return *result != ShardSlice::StageResult::kDuplicate;
}

void ShardState::Reduce(ShardSlice& slice) {
  auto update = std::make_shared<Update>();
  update->state = shared_from_this();
  update->slice = &slice;
  update->present = slice.present();

  const std::vector<Buffer> slots = slice.TakeStaged();
  const Slice& range = slice.slice();
  update->gradient = slots.size() == 1 ? slots.front() : slice.TakeBuffer();
  BlockSums sums{range.tensor, update->present.step, range.first_block(), {}};
  sums.blocks.resize(range.blocks());
  options_.pool->ParallelFor(range.blocks(), [&](int64_t block) {
    const int64_t begin = block * kBlockEntries;
    const int64_t end = std::min(begin + kBlockEntries, range.size());
    const absl::Span<float> gradient =
        absl::MakeSpan(*update->gradient).subspan(begin, end - begin);
    if (slots.size() > 1) AverageSlots(slots, begin, end, gradient);
    sums.blocks[block] = BlockNorms(
        gradient, absl::MakeConstSpan(*update->present.values).subspan(begin, end - begin),
        optimizer_->epsilon());
  });

  if (partition_.slices_of_tensor(range.tensor).size() == 1) {
    update->norms = AddBlocks(sums.blocks);
    return Apply(*update);
  }
  const NormsCallback apply = [update](const absl::StatusOr<NormSums>& norms) {
    if (!norms.ok()) return;  // the generation has ended
    update->norms = *norms;
    ShardState& self = *update->state;
    self.options_.pool->Schedule([update] { update->state->Apply(*update); });
  };
  const int home = partition_.home(range.tensor);
  if (home == shard()) {
    reducer_.Contribute(sums, apply);
  } else {
    options_.reduce_at(home, sums, apply);
  }
}

void ShardState::Apply(Update& update) {
  const Slice& range = update.present.slice;
  const TensorContext context{
      job().optimizer.learning_rate * Decay(job().schedule, update.present.step), update.norms,
      job().model.tensors[range.tensor].size()};
  Buffer next = update.slice->TakeBuffer();
  const absl::Span<float> velocity = update.slice->velocity();
  options_.pool->ParallelFor(range.blocks(), [&](int64_t block) {
    const int64_t begin = block * kBlockEntries;
    const int64_t count = std::min(kBlockEntries, range.size() - begin);
    UpdateEntries(*optimizer_, job().momentum, context,
                  absl::MakeConstSpan(*update.gradient).subspan(begin, count),
                  absl::MakeConstSpan(*update.present.values).subspan(begin, count),
                  velocity.empty() ? velocity : velocity.subspan(begin, count),
                  absl::MakeSpan(*next).subspan(begin, count));
  });
  update.slice->Publish(std::move(next));
  if (partition_.home(range.tensor) == shard()) Report(update);
}

void ShardState::Report(const Update& update) const {
  if (!options_.report) return;
  const TensorSpec& tensor = job().model.tensors[update.present.slice.tensor];
  const NormSums& norms = update.norms;
  TensorUpdate report;
  report.step = update.present.step;
  report.tensor = tensor.name;
  report.layer = std::string(tensor.layer());
  report.entries = tensor.size();
  report.gradient_l1 = norms.gradient_l1;
  report.gradient_l2 = std::sqrt(norms.gradient_l2_squared);
  report.weight_l1 = norms.weight_l1;
  report.weight_l2 = std::sqrt(norms.weight_l2_squared);
  report.rate = job().optimizer.learning_rate * Decay(job().schedule, report.step);
  report.multiplier = optimizer_->Multiplier(norms, report.entries);
  if (norms.weight_l1 > 0) {
    report.sgd_relative_delta = report.rate * norms.gradient_l1 / norms.weight_l1;
    report.relative_delta = report.multiplier * report.sgd_relative_delta;
  }
  options_.report(report);
}

absl::Status ShardState::Pull(int64_t step, const std::shared_ptr<PullSink>& sink) {
  if (step < 0 || step > job().max_steps) {
    return absl::OutOfRangeError(
        absl::StrCat("step: expected 0..", job().max_steps, ", got ", step));
  }
  for (const auto& slice : slices_) {
    if (absl::Status status = slice->Await(step, sink); !status.ok()) return status;
  }
  return absl::OkStatus();
}

int64_t ShardState::step() const {
  int64_t step = job().max_steps;
  for (const auto& slice : slices_) step = std::min(step, slice->present().step);
  return step;
}

void ShardState::Close(const absl::Status& reason) {
  reducer_.Close(reason);
  for (const auto& slice : slices_) slice->Close(reason);
}

}  // namespace percentdelta

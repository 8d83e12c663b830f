// SPDX-License-Identifier: Apache-2.0

// The path of a gradient through a shard.
//
//  1. Push (rpc/push.cc) feeds the chunks of a stream to a GradientAssembly, which checks them and
//     copies them into one buffer a slice. Nothing of a slice is visible before all of it has
//     arrived and is valid.
//  2. Stage() files the whole buffer under (step, slot). A gradient that was filed or applied
//     before is dropped: that, and only that, makes application exactly-once.
//  3. The caller that files the next slot in order schedules AddGradients() on the pool, unless it
//     is running already. It takes the gradients that have come without a gap and, block by block
//     on all threads, adds them in slot order in double; their buffers are free again. A gradient
//     that comes before its turn waits in its buffer. The caller that files a step's last gradient,
//     of the last slice, reports to the coordinator: with that the step is done, whatever workers
//     report.
//  4. ComputeNorms() gets the run that ends with the last slot. From here to step 8 the slice
//     belongs to one task at a time; no lock is held. Block by block on all threads it adds that
//     run, divides, and sums the block's norms (phase 1). Whenever the gradients came, these are
//     the additions of a plain loop over the slots, so the bits are the same. One slot is its own
//     mean.
//  5. Reduce() adds the block sums of a whole tensor in block order. A tensor that is split sends
//     its slice's block sums to the tensor's home (Reducer, over ReduceNorms), which adds those of
//     all slices in that same order: the bits do not depend on the split.
//  6. Propose() is for rules that need norms of their own delta before it is applied:
//     block by block it sums the norms of the delta that the rule proposes, drops that delta, and
//     has its sums reduced as in 5. Other rules skip it.
//  7. Apply() writes the next weights over the gradient, block by block on all threads (phase 2): a
//     slice needs no further buffer. It copies the optimizer's state if the step it leads to is to
//     become a checkpoint. Before, in the steps of which the coordinator wants histograms, it
//     counts the weights and the gradient.
//  8. Publish() makes that buffer the slice's weights at step + 1; pulls that wait for it get it by
//     reference, and the slice takes the gradients of the next step. For a checkpoint it is held,
//     with the copy of the state; when all slices have come so far, they go to the writer.
//  9. The tensor's home reports what the step did to it. If the rule's delta is neither a multiple
//     of the gradient nor known from the proposal, the shards send it how much their blocks of a
//     split tensor changed (DeltaCollector); nothing waits for that.
//
// A tensor that the job declares a buffer is not trained: ReplaceValues() takes the place of steps
// 4 to 7. It divides the sum, and the mean is the next value. Nothing is reported of it.
//
// Slices are independent of each other: there is no barrier but the norms of a split tensor.

#include "server/shard/shard_state.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "server/shard/describe_update.h"
#include "server/shard/slice_update.h"

namespace percentdelta {

ShardState::ShardState(Options options)
    : options_(std::move(options)),
      partition_(options_.job.model, options_.shards),
      optimizer_(MakeOptimizer(options_.job.optimizer.rule)),
      norm_reducer_(options_.job.model, partition_, options_.shard, options_.initial.step),
      checkpoint_assembly_(options_.generation),
      reported_gathered_(options_.initial.step) {
  const int64_t first_step = options_.initial.step;
  for (SliceContent& content : options_.initial.slices) {
    slices_.push_back(std::make_unique<ShardSlice>(options_.job, first_step, std::move(content)));
  }
  if (slices_.empty()) {
    for (const TensorRange& range : partition_.ranges_of_shard(options_.shard)) {
      slices_.push_back(std::make_unique<ShardSlice>(options_.job, range));
    }
  }
  if (optimizer_->needs_delta_norms()) {
    delta_norm_reducer_ = std::make_unique<DeltaNormReducer>(options_.job.model, partition_,
                                                             options_.shard, first_step);
  }
  if (optimizer_->delta_l1() == Optimizer::DeltaL1::kAfter) {
    collector_ = std::make_unique<DeltaCollector>(options_.job.model, partition_, options_.shard,
                                                  first_step);
  }
}

absl::StatusOr<ShardSlice*> ShardState::FindSlice(absl::string_view tensor) const {
  const int index = job().model.Find(tensor);
  if (index < 0) {
    return absl::NotFoundError(absl::StrCat("tensor ", QuoteForLog(tensor),
                                            ": expected one of job ", job().name, ", got none"));
  }
  for (const auto& slice : slices_) {
    if (slice->range().tensor == index) return slice.get();
  }
  return absl::NotFoundError(absl::StrCat("tensor ", tensor, ": expected at shard ",
                                          partition_.home(index), ", got at shard ", shard(),
                                          ", which owns no slice of it"));
}

absl::Status ShardState::CheckSlot(int64_t step, int32_t slot) const {
  if (slot < 0 || slot >= job().gradients_per_step) {
    return absl::OutOfRangeError(
        absl::StrCat("slot: expected 0..", job().gradients_per_step - 1, ", got ", slot));
  }
  if (step < 0 || step >= job().max_steps) {
    return absl::OutOfRangeError(
        absl::StrCat("step: expected 0..", job().max_steps - 1, ", got ", step));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ShardState::Stage(ShardSlice& slice, int64_t step, int32_t slot,
                                       Buffer gradient, bool for_checkpoint) {
  ASSIGN_OR_RETURN(const ShardSlice::StageResult result,
                   slice.Stage(step, slot, std::move(gradient), for_checkpoint));
  if (result == ShardSlice::StageResult::kComplete) {
    counters().staging.Add(slice.age());
    ReportGathered();
  }
  if (slice.StartAdding()) {
    options_.pool->Schedule([self = shared_from_this(), &slice] { self->AddGradients(slice); });
  }
  return result != ShardSlice::StageResult::kDuplicate;
}

void ShardState::ReportGathered() {
  if (options_.coordinator == nullptr) return;
  const int64_t steps = gathered_steps();
  {
    absl::MutexLock lock(&gathered_mutex_);
    if (steps <= reported_gathered_) return;
    reported_gathered_ = steps;
  }
  options_.coordinator->Gathered(generation(), steps);
}

void ShardState::AddGradients(ShardSlice& slice) {
  const TensorRange& range = slice.range();
  for (ShardSlice::Run run = slice.TakeRun(); !run.gradients.empty(); run = slice.TakeRun()) {
    if (run.last) {
      const bool trained = !job().model.tensors[range.tensor].buffer;
      return trained ? ComputeNorms(slice, std::move(run)) : ReplaceValues(slice, std::move(run));
    }
    const TraceSpan span(
        tracer(), "add gradients",
        {.step = slice.current().step, .tensor = job().model.tensors[range.tensor].name});
    const absl::Span<double> sum = slice.sum();
    options_.pool->ParallelFor(range.blocks(), [&](int64_t block) {
      const int64_t begin = block * kBlockEntries;
      AddSlots(run.gradients, run.first, begin, sum.subspan(begin, kBlockEntries));
    });
  }
}

ShardState::SliceUpdatePtr ShardState::StartUpdate(ShardSlice& slice, const ShardSlice::Run& last) {
  auto update = std::make_shared<SliceUpdate>();
  update->state = shared_from_this();
  update->slice = &slice;
  update->current = slice.current();
  update->gradient = last.gradients.back();
  if (job().gradients_per_step > 1) update->sum = slice.sum();
  return update;
}

void ShardState::ReplaceValues(ShardSlice& slice, ShardSlice::Run run) {
  const SliceUpdatePtr update = StartUpdate(slice, run);
  if (!update->sum.empty()) {
    const TraceSpan span(tracer(), "mean", update->subject());
    update->ForEachBlock([&](int64_t /*block*/, int64_t begin, int64_t count) {
      update->ComputeMean(run, begin, count);
    });
  }
  run.gradients.clear();
  Publish(*update, std::exchange(update->gradient, nullptr), {});
}

void ShardState::ComputeNorms(ShardSlice& slice, ShardSlice::Run run) {
  const SliceUpdatePtr update = StartUpdate(slice, run);
  const TensorRange& range = slice.range();
  BlockSums sums{range.tensor, update->current.step, range.first_block(), {}};
  sums.blocks.resize(range.blocks());
  {
    const TraceSpan span(tracer(), "phase 1", update->subject());
    const ScopedDuration timed(counters().phase_1);
    update->ForEachBlock([&](int64_t block, int64_t begin, int64_t count) {
      sums.blocks[block] = BlockNorms(update->ComputeMean(run, begin, count),
                                      update->weights(begin, count), optimizer_->epsilon());
    });
  }
  run.gradients.clear();

  options_.faults.Pass("phase");
  Reduce(update, sums, [update](const NormSums& norms) {
    ShardState& self = *update->state;
    update->norms = norms;
    update->context =
        MakeTensorContext(self.job(), update->current.step,
                          self.job().model.tensors[update->range().tensor].size(), norms);
    if (self.optimizer_->needs_delta_norms()) {
      self.Propose(update);
    } else {
      self.Apply(*update);
    }
  });
}

// Calls next(sum of the whole tensor) on the pool: at once, or when the home has answered. If there
// will be no answer, because the generation has ended, the update ends here.
template <typename Sum, typename Next>
void ShardState::Reduce(const SliceUpdatePtr& update, const SliceSums<Sum>& sums, Next next) {
  if (partition_.ranges_of_tensor(sums.tensor).size() == 1) {
    Sum total{};
    for (const Sum& block : sums.blocks) total += block;
    return next(total);
  }
  options_.faults.Pass("reduce_norms");
  update->reducing = AsyncSpan(tracer(), "reduce norms", update->subject());
  SendToHome(partition_.home(sums.tensor), sums,
             [update, next = std::move(next)](const absl::StatusOr<Sum>& total) {
               if (!total.ok()) return;
               update->reducing.End();
               update->state->options_.pool->Schedule([next, total = *total] { next(total); });
             });
}

void ShardState::SendToHome(int home, const BlockSums& sums, NormsCallback done) {
  if (home == shard()) return ReduceNorms(sums, std::move(done));
  options_.peers->ReduceNorms(home, sums, std::move(done));
}

void ShardState::SendToHome(int home, const ProposedSums& sums, DeltaNormsCallback done) {
  if (home == shard()) return ReduceDeltaNorms(sums, std::move(done));
  options_.peers->ReduceDeltaNorms(home, sums, std::move(done));
}

void ShardState::Propose(const SliceUpdatePtr& update) {
  const TensorRange& range = update->range();
  ProposedSums sums{range.tensor, update->current.step, range.first_block(), {}};
  sums.blocks.resize(range.blocks());
  {
    const TraceSpan span(tracer(), "propose", update->subject());
    const absl::Span<std::vector<float>> state = update->slice->optimizer_state();
    update->ForEachBlock([&](int64_t block, int64_t begin, int64_t count) {
      sums.blocks[block] =
          ProposedNorms(*optimizer_, update->context,
                        absl::MakeConstSpan(*update->gradient).subspan(begin, count),
                        update->weights(begin, count), StateRange(state, begin, count));
    });
  }
  Reduce(update, sums, [update](const DeltaNorms& norms) {
    update->context.delta_norms = norms;
    update->state->Apply(*update);
  });
}

void ShardState::ReportHistograms(const SliceUpdate& update) {
  const int64_t every = options_.histogram_steps;
  if (every == 0 || update.current.step % every != 0 || options_.coordinator == nullptr) return;
  const TraceSpan span(tracer(), "histograms", update.subject());
  options_.coordinator->ReportHistograms(generation(), update.CountValues());
}

void ShardState::Apply(SliceUpdate& update) {
  ReportHistograms(update);
  const TraceSpan span(tracer(), "phase 2", update.subject());
  const ScopedDuration timed(counters().phase_2);
  const Buffer next = std::move(update.gradient);
  const absl::Span<std::vector<float>> state = update.slice->optimizer_state();
  std::vector<Buffer> copies;  // of `state`, for a checkpoint
  if (IsForCheckpoint(update)) {
    for (size_t i = 0; i < state.size(); ++i) copies.push_back(update.slice->TakeBuffer());
  }
  std::vector<double> deltas(update.range().blocks());
  update.ForEachBlock([&](int64_t block, int64_t begin, int64_t count) {
    deltas[block] = UpdateEntries(*optimizer_, job(), update.context,
                                  absl::MakeConstSpan(*next).subspan(begin, count),
                                  update.weights(begin, count), StateRange(state, begin, count),
                                  absl::MakeSpan(*next).subspan(begin, count));
    for (size_t i = 0; i < copies.size(); ++i) {
      std::copy_n(state[i].begin() + begin, count, copies[i]->begin() + begin);
    }
  });
  Publish(update, next, std::move(copies));
  if (options_.coordinator != nullptr) Report(update, std::move(deltas));
}

bool ShardState::IsForCheckpoint(const SliceUpdate& update) const {
  return options_.checkpoint_writer != nullptr && update.slice->for_checkpoint();
}

void ShardState::Publish(SliceUpdate& update, Buffer next, std::vector<Buffer> state) {
  if (IsForCheckpoint(update)) {
    SliceContent content;
    content.range = update.range();
    content.weights = next;
    content.state = std::move(state);
    std::optional<ShardContent> whole =
        checkpoint_assembly_.Add(update.current.step + 1, std::move(content), slices_.size());
    if (whole) options_.checkpoint_writer->Write(*std::move(whole));
  }
  update.slice->Publish(std::move(next));
}

void ShardState::Report(const SliceUpdate& update, std::vector<double> deltas) {
  const TensorRange& range = update.range();
  const int home = partition_.home(range.tensor);
  DeltaSums sums{range.tensor, update.current.step, range.first_block(), std::move(deltas)};
  if (home != shard()) {
    if (collector_) options_.peers->CollectDeltas(home, sums);
    return;
  }
  const auto report = [this](const TensorStatistics& statistics) {
    options_.coordinator->ReportStatistics(generation(), statistics);
  };
  TensorStatistics statistics =
      DescribeUpdate(job().model.tensors[range.tensor], update.norms, update.context);
  switch (optimizer_->delta_l1()) {
    case Optimizer::DeltaL1::kOfGradient:
      SetMultiplier(statistics, optimizer_->Multiplier(update.context));
      return report(statistics);
    case Optimizer::DeltaL1::kBefore:
      SetDelta(statistics, optimizer_->Factor(update.context) * update.context.delta_norms.l1);
      return report(statistics);
    case Optimizer::DeltaL1::kAfter:
      break;
  }
  if (partition_.ranges_of_tensor(range.tensor).size() == 1) {
    SetDelta(statistics, std::accumulate(sums.blocks.begin(), sums.blocks.end(), 0.0));
    return report(statistics);
  }
  collector_->Open(sums, [report, statistics = std::move(statistics)](double delta_l1) mutable {
    SetDelta(statistics, delta_l1);
    report(statistics);
  });
}

void ShardState::ReduceNorms(const BlockSums& sums, NormsCallback done) {
  norm_reducer_.Contribute(sums, std::move(done));
}

void ShardState::ReduceDeltaNorms(const ProposedSums& sums, DeltaNormsCallback done) {
  if (delta_norm_reducer_ == nullptr) return done(UnusedSums(sums.tensor));
  delta_norm_reducer_->Contribute(sums, std::move(done));
}

absl::Status ShardState::Collect(const DeltaSums& sums) {
  if (collector_ == nullptr) return UnusedSums(sums.tensor);
  ASSIGN_OR_RETURN(const ShardSlice* own, FindSlice(job().model.tensors[sums.tensor].name));
  return collector_->Contribute(sums, own->current().step);
}

absl::Status ShardState::UnusedSums(int tensor) const {
  return absl::FailedPreconditionError(absl::StrCat("tensor ", job().model.tensors[tensor].name,
                                                    ": expected no sums of deltas under ",
                                                    RuleTitle(job().optimizer.rule), ", got some"));
}

absl::Status ShardState::Pull(int64_t step, const std::shared_ptr<PullSink>& sink) {
  if (step < 0 || step > job().max_steps) {
    return absl::OutOfRangeError(
        absl::StrCat("step: expected 0..", job().max_steps, ", got ", step));
  }
  for (const auto& slice : slices_) {
    RETURN_IF_ERROR(slice->Await(step, sink));
  }
  return absl::OkStatus();
}

int64_t ShardState::step() const {
  int64_t step = job().max_steps;
  for (const auto& slice : slices_) step = std::min(step, slice->current().step);
  return step;
}

int64_t ShardState::gathered_steps() const {
  int64_t steps = job().max_steps;
  for (const auto& slice : slices_) steps = std::min(steps, slice->gathered_steps());
  return steps;
}

std::vector<int32_t> ShardState::MissingSlots(int64_t step) const {
  std::vector<int32_t> missing;
  for (int32_t slot = 0; slot < job().gradients_per_step; ++slot) {
    const bool whole = std::all_of(slices_.begin(), slices_.end(),
                                   [&](const auto& slice) { return slice->Has(step, slot); });
    if (!whole) missing.push_back(slot);
  }
  return missing;
}

void ShardState::Close(const absl::Status& reason) {
  norm_reducer_.Close(reason);
  if (delta_norm_reducer_) delta_norm_reducer_->Close(reason);
  for (const auto& slice : slices_) slice->Close(reason);
}

}  // namespace percentdelta

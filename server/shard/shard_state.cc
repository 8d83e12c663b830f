// The way of a gradient through a shard.
//
//  1. Push (rpc/push.cc) feeds the chunks of a stream to a GradientAssembly, which checks them and
//     copies them into one buffer a slice. Nothing of a slice is visible before all of it is there
//     and right.
//  2. Stage() files the whole buffer under (step, slot). A gradient that was filed or applied
//     before is dropped: that, and only that, makes application exactly-once.
//  3. The caller that files the next slot in order schedules AddGradients() on the pool, unless
//  that
//     is at work already. It takes the gradients that have come without a gap and, block by block
//     on all threads, adds them in slot order in double; their buffers are free again. A gradient
//     that comes before its turn waits in its buffer. The caller that files a step's last gradient,
//     of the last slice, tells the coordinator: with that the step is done, whatever workers
//     report.
//  4. Reduce() gets the run that ends with the last slot. From here to step 7 the slice belongs to
//     that one task; no lock is held. Block by block on all threads it adds that run, divides, and
//     sums the block's norms (phase 1). Whenever the gradients came, these are the additions of a
//     plain loop over the slots, so the bits are the same. One slot is its own mean.
//  5. The norms of a whole tensor are its block sums added in block order. A tensor that is split
//     sends its slice's block sums to the tensor's home (NormReducer, over ReduceNorms), which adds
//     those of all slices in that same order: the bits do not depend on the split.
//  6. Apply() changes the weights into a fresh buffer, block by block on all threads (phase 2). If
//     the step it leads to is to become a checkpoint, Keep() holds on to that buffer and to a copy
//     of the optimizer's state, made block by block; when all slices have done so, they go to the
//     writer.
//  7. Publish() makes that buffer the slice's weights at step + 1; pulls that wait for it are
//     handed it by reference, and the slice takes the gradients of the next step.
//  8. The tensor's home reports what the step did to it. Under a rule whose delta is no multiple of
//     the gradient the shards tell it what their blocks of a split tensor were changed by
//     (DeltaCollector); nothing waits for that.
//
// Slices go their ways independently: there is no barrier but the norms of a split tensor.

#include "server/shard/shard_state.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

// Adds the gradients' entries from `begin` on to as many of the sum of the slots before, slot by
// slot. `first`: there are none before.
void AddSlots(const std::vector<Buffer>& gradients, bool first, int64_t begin,
              absl::Span<double> sum) {
  if (first) std::fill(sum.begin(), sum.end(), 0.0);
  for (const Buffer& gradient : gradients) {
    const float* values = gradient->data() + begin;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
}

void Divide(absl::Span<const double> sum, int32_t slots, absl::Span<float> mean) {
  const auto count = static_cast<double>(slots);
  for (size_t i = 0; i < sum.size(); ++i) mean[i] = static_cast<float>(sum[i] / count);
}

// What a step did to a tensor, but for what the rule made of the gradient.
TensorStatistics Describe(const TensorSpec& tensor, const NormSums& norms,
                          const TensorContext& context) {
  TensorStatistics report;
  report.step = context.step;
  report.tensor = tensor.name;
  report.layer = std::string(tensor.layer());
  report.entries = context.entries;
  report.gradient_l1 = norms.gradient_l1;
  report.gradient_l2 = std::sqrt(norms.gradient_l2_squared);
  report.weight_l1 = norms.weight_l1;
  report.weight_l2 = std::sqrt(norms.weight_l2_squared);
  report.rate = context.rate;
  if (norms.weight_l1 > 0) {
    report.sgd_relative_delta = report.rate * norms.gradient_l1 / norms.weight_l1;
  }
  return report;
}

// Of a rule whose delta is rate * multiplier * g.
void SetMultiplier(TensorStatistics& report, double multiplier) {
  report.multiplier = multiplier;
  report.relative_delta = multiplier * report.sgd_relative_delta;
}

// Of another.
void SetDelta(TensorStatistics& report, double delta_l1) {
  const double sgd_l1 = report.rate * report.gradient_l1;
  report.multiplier = sgd_l1 > 0 ? delta_l1 / sgd_l1 : 0;
  report.relative_delta = report.weight_l1 > 0 ? delta_l1 / report.weight_l1 : 0;
}

}  // namespace

struct ShardState::Update {
  std::shared_ptr<ShardState> state;  // keeps the slice alive
  ShardSlice* slice = nullptr;
  Snapshot present;
  Buffer gradient;
  NormSums norms;         // of the whole tensor, the gradient's before clipping
  TensorContext context;  // once the norms are there
  AsyncSpan reducing;     // of a split tensor's norms

  TraceSubject subject() const {
    return {.step = present.step, .tensor = state->job().model.tensors[present.range.tensor].name};
  }
};

ShardState::ShardState(Options options)
    : options_(std::move(options)),
      partition_(options_.job.model, options_.shards),
      optimizer_(MakeOptimizer(options_.job.optimizer.rule)),
      reducer_(options_.job.model, partition_, options_.shard, options_.begin.step),
      told_gathered_(options_.begin.step) {
  for (SliceContent& content : options_.begin.slices) {
    slices_.push_back(
        std::make_unique<ShardSlice>(options_.job, options_.begin.step, std::move(content)));
  }
  if (slices_.empty()) {
    for (const TensorRange& slice : partition_.ranges_of_shard(options_.shard)) {
      slices_.push_back(std::make_unique<ShardSlice>(options_.job, slice));
    }
  }
  if (!optimizer_->scales_gradient()) {
    collector_ = std::make_unique<DeltaCollector>(options_.job.model, partition_, options_.shard,
                                                  options_.begin.step);
  }
}

absl::StatusOr<ShardSlice*> ShardState::FindSlice(absl::string_view tensor) const {
  const int index = job().model.Find(tensor);
  if (index < 0) {
    return absl::NotFoundError(absl::StrCat("tensor \"", tensor.substr(0, 100),
                                            "\": expected one of job ", job().name, ", got none"));
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
                                       Buffer gradient, bool keep) {
  absl::StatusOr<ShardSlice::StageResult> result =
      slice.Stage(step, slot, std::move(gradient), keep);
  if (!result.ok()) return result.status();
  if (*result == ShardSlice::StageResult::kComplete) TellGathered();
  if (slice.StartAdding()) {
    options_.pool->Schedule([self = shared_from_this(), &slice] { self->AddGradients(slice); });
  }
  return *result != ShardSlice::StageResult::kDuplicate;
}

void ShardState::TellGathered() {
  if (options_.coordinator == nullptr) return;
  const int64_t steps = gathered_steps();
  {
    absl::MutexLock lock(&gathered_mutex_);
    if (steps <= told_gathered_) return;
    told_gathered_ = steps;
  }
  options_.coordinator->Gathered(generation(), steps);
}

void ShardState::AddGradients(ShardSlice& slice) {
  const TensorRange& range = slice.range();
  for (ShardSlice::Run run = slice.TakeRun(); !run.gradients.empty(); run = slice.TakeRun()) {
    if (run.last) {
      Reduce(slice, std::move(run));
      return;
    }
    const TraceSpan span(
        tracer(), "add gradients",
        {.step = slice.present().step, .tensor = job().model.tensors[range.tensor].name});
    const absl::Span<double> sum = slice.sum();
    options_.pool->ParallelFor(range.blocks(), [&](int64_t block) {
      const int64_t begin = block * kBlockEntries;
      AddSlots(run.gradients, run.first, begin, sum.subspan(begin, kBlockEntries));
    });
  }
}

void ShardState::Reduce(ShardSlice& slice, ShardSlice::Run run) {
  auto update = std::make_shared<Update>();
  update->state = shared_from_this();
  update->slice = &slice;
  update->present = slice.present();

  const TensorRange& range = slice.range();
  const int32_t slots = job().gradients_per_step;
  const absl::Span<double> sum = slots > 1 ? slice.sum() : absl::Span<double>();
  update->gradient = run.gradients.back();  // becomes the mean
  BlockSums sums{range.tensor, update->present.step, range.first_block(), {}};
  sums.blocks.resize(range.blocks());
  {
    const TraceSpan span(tracer(), "phase 1", update->subject());
    options_.pool->ParallelFor(range.blocks(), [&](int64_t block) {
      const int64_t begin = block * kBlockEntries;
      const int64_t end = std::min(begin + kBlockEntries, range.size());
      const absl::Span<float> gradient =
          absl::MakeSpan(*update->gradient).subspan(begin, end - begin);
      if (slots > 1) {
        AddSlots(run.gradients, run.first, begin, sum.subspan(begin, end - begin));
        Divide(sum.subspan(begin, end - begin), slots, gradient);
      }
      sums.blocks[block] = BlockNorms(
          gradient, absl::MakeConstSpan(*update->present.values).subspan(begin, end - begin),
          optimizer_->epsilon());
    });
  }
  run.gradients.clear();

  options_.faults.Pass("phase");
  if (partition_.ranges_of_tensor(range.tensor).size() == 1) {
    update->norms = AddBlocks(sums.blocks);
    return Apply(*update);
  }
  const NormsCallback apply = [update](const absl::StatusOr<NormSums>& norms) {
    if (!norms.ok()) return;  // the generation has ended
    update->reducing.End();
    update->norms = *norms;
    ShardState& self = *update->state;
    self.options_.pool->Schedule([update] { update->state->Apply(*update); });
  };
  options_.faults.Pass("reduce_norms");
  update->reducing = AsyncSpan(tracer(), "reduce norms", update->subject());
  const int home = partition_.home(range.tensor);
  if (home == shard()) {
    reducer_.Contribute(sums, apply);
  } else {
    options_.peers->ReduceNorms(home, sums, apply);
  }
}

void ShardState::Apply(Update& update) {
  const TraceSpan span(tracer(), "phase 2", update.subject());
  const TensorRange& range = update.present.range;
  update.context = UpdateContext(job(), update.present.step,
                                 job().model.tensors[range.tensor].size(), update.norms);
  Buffer next = update.slice->TakeBuffer();
  const absl::Span<std::vector<float>> state = update.slice->state();
  std::vector<Buffer> kept;  // a copy of `state`, for a checkpoint
  const bool keeps = options_.checkpoint_writer != nullptr && update.slice->keeps();
  for (size_t i = 0; keeps && i < state.size(); ++i) kept.push_back(update.slice->TakeBuffer());
  std::vector<double> deltas(range.blocks());
  options_.pool->ParallelFor(range.blocks(), [&](int64_t block) {
    const int64_t begin = block * kBlockEntries;
    const int64_t count = std::min(kBlockEntries, range.size() - begin);
    deltas[block] =
        UpdateEntries(*optimizer_, job(), update.context,
                      absl::MakeConstSpan(*update.gradient).subspan(begin, count),
                      absl::MakeConstSpan(*update.present.values).subspan(begin, count),
                      StateRange(state, begin, count), absl::MakeSpan(*next).subspan(begin, count));
    for (size_t i = 0; i < kept.size(); ++i) {
      std::copy_n(state[i].begin() + begin, count, kept[i]->begin() + begin);
    }
  });
  if (keeps) Keep(update, next, std::move(kept));
  update.gradient = nullptr;  // its buffer is there for the gradients that Publish calls for
  update.slice->Publish(std::move(next));
  if (options_.coordinator != nullptr) Report(update, std::move(deltas));
}

void ShardState::Keep(const Update& update, const Buffer& next, std::vector<Buffer> state) {
  SliceContent content;
  content.range = update.present.range;
  content.weights = next;
  content.state = std::move(state);
  const int64_t step = update.present.step + 1;
  ShardContent whole;
  {
    absl::MutexLock lock(&kept_mutex_);
    ShardContent& kept = kept_[step];
    kept.slices.push_back(std::move(content));
    if (kept.slices.size() < slices_.size()) return;
    whole = std::move(kept);
    kept_.erase(step);
  }
  std::sort(
      whole.slices.begin(), whole.slices.end(),
      [](const SliceContent& a, const SliceContent& b) { return a.range.tensor < b.range.tensor; });
  whole.generation = generation();
  whole.step = step;
  options_.checkpoint_writer->Write(std::move(whole));
}

void ShardState::Report(const Update& update, std::vector<double> deltas) {
  const TensorRange& range = update.present.range;
  const int home = partition_.home(range.tensor);
  DeltaSums sums{range.tensor, update.present.step, range.first_block(), std::move(deltas)};
  if (home != shard()) {
    if (collector_) options_.peers->CollectDeltas(home, sums);
    return;
  }
  TensorStatistics report =
      Describe(job().model.tensors[range.tensor], update.norms, update.context);
  if (!collector_) {
    SetMultiplier(report, optimizer_->Multiplier(update.context) * update.context.gradient_scale);
    options_.coordinator->ReportStatistics(generation(), report);
  } else if (partition_.ranges_of_tensor(range.tensor).size() == 1) {
    SetDelta(report, std::accumulate(sums.blocks.begin(), sums.blocks.end(), 0.0));
    options_.coordinator->ReportStatistics(generation(), report);
  } else {
    collector_->Open(sums, [this, report = std::move(report)](double delta_l1) mutable {
      SetDelta(report, delta_l1);
      options_.coordinator->ReportStatistics(generation(), report);
    });
  }
}

absl::Status ShardState::Collect(const DeltaSums& sums) {
  if (!collector_) {
    return absl::FailedPreconditionError(
        absl::StrCat("tensor ", job().model.tensors[sums.tensor].name,
                     ": expected no sums of deltas under the job's rule, got some"));
  }
  const absl::StatusOr<ShardSlice*> own = FindSlice(job().model.tensors[sums.tensor].name);
  if (!own.ok()) return own.status();
  return collector_->Contribute(sums, (*own)->present().step);
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
  for (const auto& slice : slices_) step = std::min(step, slice->present().step);
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
  reducer_.Close(reason);
  for (const auto& slice : slices_) slice->Close(reason);
}

}  // namespace percentdelta

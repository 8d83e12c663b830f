// SPDX-License-Identifier: Apache-2.0

// The update of one slice from a step to the next, while it is under way; for shard_state.cc alone,
// whose comment describes the steps.

#ifndef PERCENTDELTA_SERVER_SHARD_SLICE_UPDATE_H_
#define PERCENTDELTA_SERVER_SHARD_SLICE_UPDATE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "common/cluster/histogram.h"
#include "server/shard/shard_state.h"
#include "server/shard/slot_sum.h"

namespace percentdelta {

// Belongs to one task at a time.
struct ShardState::SliceUpdate {
  std::shared_ptr<ShardState> state;  // keeps the slice alive
  ShardSlice* slice = nullptr;
  Snapshot current;
  Buffer gradient;         // becomes the slots' mean (ComputeMean)
  absl::Span<double> sum;  // of the runs before the last; empty if the job has one slot
  NormSums norms;          // of the whole tensor, the gradient's before clipping
  TensorContext context;   // once the norms are there
  AsyncSpan reducing;      // of a split tensor's norms

  const TensorRange& range() const { return current.range; }
  TraceSubject subject() const {
    return {.step = current.step, .tensor = state->job().model.tensors[range().tensor].name};
  }

  // Makes a range of the gradient the mean of the slots', of which `last` is the step's last run.
  // One slot is its own mean. Returns the range.
  absl::Span<float> ComputeMean(const ShardSlice::Run& last, int64_t begin, int64_t count) const {
    const absl::Span<float> mean = absl::MakeSpan(*gradient).subspan(begin, count);
    if (sum.empty()) return mean;
    AddSlots(last.gradients, last.first, begin, sum.subspan(begin, count));
    Divide(sum.subspan(begin, count), state->job().gradients_per_step, mean);
    return mean;
  }

  // Calls compute(block, begin, count) for each block of the slice, on all threads; `begin` counts
  // from the slice's first entry.
  template <typename Compute>
  void ForEachBlock(Compute compute) const {
    state->options_.pool->ParallelFor(range().blocks(), [&](int64_t block) {
      const int64_t begin = block * kBlockEntries;
      compute(block, begin, std::min(kBlockEntries, range().size() - begin));
    });
  }

  // Counts the weights and the gradient, on all threads.
  SliceHistograms CountValues() const {
    SliceHistograms histograms{current.step, std::string(subject().tensor), range().begin, {}, {}};
    absl::Mutex mutex;
    ForEachBlock([&](int64_t /*block*/, int64_t begin, int64_t count) {
      HistogramCounter of_weights;
      HistogramCounter of_gradient;
      of_weights.Add(weights(begin, count));
      of_gradient.Add(absl::MakeConstSpan(*gradient).subspan(begin, count));
      const absl::MutexLock lock(&mutex);
      of_weights.AddTo(histograms.weights);
      of_gradient.AddTo(histograms.gradient);
    });
    return histograms;
  }

  absl::Span<const float> weights(int64_t begin, int64_t count) const {
    return absl::MakeConstSpan(*current.values).subspan(begin, count);
  }
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SLICE_UPDATE_H_

// SPDX-License-Identifier: Apache-2.0

// The cost of a shard's update as the number of slots grows.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/base/thread_pool.h"
#include "common/job/job_codec.h"
#include "server/shard/shard_state.h"
#include "tests/benchmark/limits.h"
#include "tests/benchmark/paired.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

// Counts the slices that have been published.
class Publications : public PullSink {
 public:
  void Deliver(Snapshot /*snapshot*/) override {
    absl::MutexLock lock(&mutex_);
    ++count_;
  }
  void End(absl::Status /*reason*/) override {}

  void Await(size_t slices) {
    const auto all = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return count_ == slices; };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&all));
  }

 private:
  absl::Mutex mutex_;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// One shard with the whole model, from staging the last slot until all slices are published,
// against a memcpy of the bytes that it must read and write: the gradients of all slots, the
// weights twice, the velocity read and written, the mean gradient written and read twice (with one
// slot only read twice), and the next weights.
void BM_ShardUpdate(benchmark::State& state) {
  Job job = *LoadJob("");
  const auto slots = static_cast<int32_t>(state.range(0));
  job.gradients_per_step = slots;
  job.max_steps = 1 << 30;
  job.evaluation.reset();
  ThreadPool pool(static_cast<int>(state.range(1)));
  ShardState::Options options;
  options.job = job;
  options.pool = &pool;
  const auto shard = std::make_shared<ShardState>(std::move(options));
  const std::vector<std::vector<float>> values = RandomGradient(job.model, 1);

  // One buffer per slot and slice. With several slots the update only reads them.
  std::vector<std::vector<Buffer>> gradients(slots);
  for (std::vector<Buffer>& slot : gradients) {
    for (const auto& slice : shard->slices()) {
      slot.push_back(std::make_shared<std::vector<float>>(values[slice->range().tensor]));
    }
  }
  const auto stage = [&](int32_t slot, int64_t step) {
    for (size_t i = 0; i < shard->slices().size(); ++i) {
      benchmark::DoNotOptimize(
          shard->Stage(*shard->slices()[i], step, slot, gradients[slot][i]).ok());
    }
  };
  int64_t step = 0;
  const auto stage_all_but_last = [&] {
    for (int32_t slot = 0; slot + 1 < slots; ++slot) stage(slot, step);
  };
  stage_all_but_last();
  const int64_t passes = (slots == 1 ? 2 : slots + 3) + 2 + 2 + 1;
  MemoryTraffic memory(passes * job.model.size() * sizeof(float));
  MeasureAgainst(
      state,
      [&] {
        const auto published = std::make_shared<Publications>();
        if (!shard->Pull(step + 1, published).ok()) return state.SkipWithError("no such step");
        stage(slots - 1, step);
        published->Await(shard->slices().size());
        ++step;
      },
      stage_all_but_last, [&] { memory.Run(pool); });
}

BENCHMARK(BM_ShardUpdate)
    ->ArgsProduct({{1, 4, 16}, {1, 2}})
    ->ArgNames({"slots", "threads"})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace percentdelta

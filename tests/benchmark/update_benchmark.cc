// SPDX-License-Identifier: Apache-2.0

// The two phases of an update of the whole model, against a memcpy of the bytes that the rule must
// read and write.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "common/job/job_codec.h"
#include "common/job/partition.h"
#include "server/update/norms.h"
#include "server/update/optimizer.h"
#include "tests/benchmark/limits.h"
#include "tests/benchmark/paired.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

// The entries of all tensors in sequence, in blocks as on the shards.
struct Arrays {
  explicit Arrays(const Job& job) {
    for (const std::vector<float>& tensor : RandomGradient(job.model, 1)) {
      gradient.insert(gradient.end(), tensor.begin(), tensor.end());
    }
    weights.assign(gradient.rbegin(), gradient.rend());
    state.assign(StateNames(job).size(), std::vector<float>(gradient.size()));
    next.resize(gradient.size());
  }

  int64_t blocks() const {
    return (static_cast<int64_t>(gradient.size()) + kBlockEntries - 1) / kBlockEntries;
  }

  template <typename T>
  static absl::Span<T> Block(std::vector<T>& values, int64_t block) {
    return absl::MakeSpan(values).subspan(block * kBlockEntries, kBlockEntries);
  }

  std::vector<float> gradient, weights, next;
  std::vector<std::vector<float>> state;
};

// Reads gradient and weights.
void BM_UpdatePhase1(benchmark::State& state) {
  const Job job = *LoadJob("");
  const std::unique_ptr<const Optimizer> rule = MakeOptimizer(job.optimizer.rule);
  Arrays arrays(job);
  ThreadPool pool(static_cast<int>(state.range(0)));
  std::vector<NormSums> sums(arrays.blocks());
  MemoryTraffic memory(2 * arrays.gradient.size() * sizeof(float));
  MeasureAgainst(
      state,
      [&] {
        pool.ParallelFor(arrays.blocks(), [&](int64_t block) {
          sums[block] = BlockNorms(Arrays::Block(arrays.gradient, block),
                                   Arrays::Block(arrays.weights, block), rule->epsilon());
        });
        benchmark::DoNotOptimize(AddBlocks(sums));
      },
      [] {}, [&] { memory.Run(pool); });
}

// Reads gradient, weights and velocity; writes velocity and the next weights.
void BM_UpdatePhase2(benchmark::State& state) {
  const Job job = *LoadJob("");
  const std::unique_ptr<const Optimizer> rule = MakeOptimizer(job.optimizer.rule);
  Arrays arrays(job);
  ThreadPool pool(static_cast<int>(state.range(0)));
  TensorContext context =
      MakeTensorContext(job, 0, static_cast<int64_t>(arrays.gradient.size()),
                    BlockNorms(arrays.gradient, arrays.weights, rule->epsilon()));
  context.rate = 1e-6;
  MemoryTraffic memory(5 * arrays.gradient.size() * sizeof(float));
  MeasureAgainst(
      state,
      [&] {
        pool.ParallelFor(arrays.blocks(), [&](int64_t block) {
          UpdateEntries(
              *rule, job, context, Arrays::Block(arrays.gradient, block),
              Arrays::Block(arrays.weights, block),
              StateRange(absl::MakeSpan(arrays.state), block * kBlockEntries, kBlockEntries),
              Arrays::Block(arrays.next, block));
        });
        std::swap(arrays.weights, arrays.next);
      },
      [] {}, [&] { memory.Run(pool); });
}

void Options(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1)->Arg(2)->ArgName("threads")->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(BM_UpdatePhase1)->Apply(Options);
BENCHMARK(BM_UpdatePhase2)->Apply(Options);

}  // namespace
}  // namespace percentdelta

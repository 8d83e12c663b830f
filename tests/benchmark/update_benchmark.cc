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
#include "server/shard/shard_counters.h"
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

// What is counted for metrics in a step on one shard, with one push and one pull, against the two
// phases of the update without: a small part of a step.
void BM_Metrics(benchmark::State& state) {
  const Job job = *LoadJob("");
  const std::unique_ptr<const Optimizer> rule = MakeOptimizer(job.optimizer.rule);
  Arrays arrays(job);
  const auto entries = static_cast<int64_t>(arrays.gradient.size());
  const int64_t chunks = 2 * ((entries + kChunkEntries - 1) / kChunkEntries);
  ShardCounters counters;
  MeasureAgainst(
      state,
      [&] {
        for (size_t tensor = 0; tensor < job.model.tensors.size(); ++tensor) {
          const ScopedDuration staging(counters.staging);
          const ScopedDuration phase_1(counters.phase_1);
          const ScopedDuration phase_2(counters.phase_2);
        }
        for (int64_t chunk = 0; chunk < chunks; ++chunk) Add(counters.pulled.grpc, kChunkEntries);
        Add(counters.accepted, 1);
      },
      [] {},
      [&] {
        const NormSums norms = BlockNorms(arrays.gradient, arrays.weights, rule->epsilon());
        TensorContext context = MakeTensorContext(job, 0, entries, norms);
        context.rate = 1e-6;
        UpdateEntries(*rule, job, context, arrays.gradient, arrays.weights,
                      StateRange(absl::MakeSpan(arrays.state), 0, entries),
                      absl::MakeSpan(arrays.next));
        std::swap(arrays.weights, arrays.next);
      });
}

void Options(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1)->Arg(2)->ArgName("threads")->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(BM_UpdatePhase1)->Apply(Options);
BENCHMARK(BM_UpdatePhase2)->Apply(Options);
BENCHMARK(BM_Metrics)->Iterations(200)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace percentdelta

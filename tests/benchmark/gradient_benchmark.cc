// SPDX-License-Identifier: Apache-2.0

// The worker's computation: loss and gradient of the paper's network over a batch of 500, against a
// dense GEMM with as many multiply-adds, or against other programs that compute the same (peer.h).
// The gradient can be cheaper than the GEMM: max-pooling propagates the gradient of one position in
// four, and ReLU zeroes some of those.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>

#include "common/job/job_codec.h"
#include "tests/benchmark/bare_gradient.h"
#include "tests/benchmark/limits.h"
#include "tests/benchmark/paired.h"
#include "tests/benchmark/peer.h"

namespace percentdelta {
namespace {

constexpr int64_t kBatch = 500;  // the job's

// Returns the multiply-adds of a gradient that computes every product: forward once, backward twice
// (weights and inputs), except for the network's input.
int64_t DenseMultiplyAdds(int64_t batch) {
  const int64_t conv1 = int64_t{28} * 28 * 25 * 32;
  const int64_t conv2 = int64_t{14} * 14 * 25 * 32 * 64;
  const int64_t fc1 = int64_t{3136} * 1024;
  const int64_t fc2 = int64_t{1024} * 10;
  return batch * (2 * conv1 + 3 * (conv2 + fc1 + fc2));
}

void BM_Gradient(benchmark::State& state, const std::string& isa) {
  Gemm gemm(DenseMultiplyAdds(kBatch));
  BareGradient gradient(*LoadJob(""), static_cast<int>(state.range(0)), isa);
  MeasureAgainst(
      state, [&] { gradient.Run(); }, [] {}, [&] { gemm.Run(gradient.pool()); });
}

// `program` takes the number of threads as its argument.
void BM_GradientAgainst(benchmark::State& state, const std::string& program) {
  Peer peer({program, std::to_string(state.range(0))});
  BareGradient gradient(*LoadJob(""), static_cast<int>(state.range(0)), "");
  MeasureAgainst(
      state, [&] { gradient.Run(); }, [] {}, [&] { return peer.Run(); });
}

void Options(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1)->Arg(2)->ArgName("threads")->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(BM_Gradient, best, "")->Apply(Options);
#if defined(__x86_64__)
BENCHMARK_CAPTURE(BM_Gradient, v3, "x86-64-v3")->Apply(Options);
BENCHMARK_CAPTURE(BM_Gradient, v2, "x86-64-v2")->Apply(Options);
#endif

}  // namespace

void RegisterGradientPeer(const std::string& name, const std::string& program) {
  Options(benchmark::RegisterBenchmark(
      ("BM_Gradient/against_" + name).c_str(),
      [program](benchmark::State& state) { BM_GradientAgainst(state, program); }));
}

}  // namespace percentdelta

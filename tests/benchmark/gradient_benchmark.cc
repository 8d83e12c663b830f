// The worker's part: loss and gradient of the paper's network over a batch of 500, against a dense
// GEMM of the same multiply-adds. The gradient can be cheaper: max-pooling passes on the gradient of
// one position in four, and ReLU closes some of those.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "common/initial_weights.h"
#include "common/job_codec.h"
#include "tests/benchmark/limits.h"
#include "tests/benchmark/paired.h"
#include "tests/local/small_cluster.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"

namespace percentdelta {
namespace {

// Of a whole gradient, were every product computed: forward once, backward twice (weights and
// inputs), but for the network's input.
int64_t DenseMultiplyAdds(int64_t batch) {
  const int64_t conv1 = int64_t{28} * 28 * 25 * 32;
  const int64_t conv2 = int64_t{14} * 14 * 25 * 32 * 64;
  const int64_t fc1 = int64_t{3136} * 1024;
  const int64_t fc2 = int64_t{1024} * 10;
  return batch * (2 * conv1 + 3 * (conv2 + fc1 + fc2));
}

void BM_Gradient(benchmark::State& state, const std::string& isa) {
  const Job job = *LoadJob("");
  ThreadPool pool(static_cast<int>(state.range(0)));
  const absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(job.model, {&pool, isa});
  if (!model.ok()) return state.SkipWithError(std::string(model.status().message()).c_str());
  TensorValues weights;
  for (const TensorSpec& tensor : job.model.tensors) {
    DrawInitialWeights(tensor, job.seed, 0, absl::MakeSpan(weights.emplace_back(tensor.size())));
  }
  const std::shared_ptr<const Dataset> images = SyntheticDataset(job.batch_size, 1);
  std::vector<int64_t> all(job.batch_size);
  std::iota(all.begin(), all.end(), 0);
  Batch batch;
  GatherBatch(*images, all, batch);
  TensorValues gradient;
  Gemm gemm(DenseMultiplyAdds(job.batch_size));
  MeasureAgainst(
      state,
      [&] { benchmark::DoNotOptimize((*model)->Gradient(weights, batch, {}, gradient).ok()); },
      [] {}, [&] { gemm.Run(pool); });
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
}  // namespace percentdelta

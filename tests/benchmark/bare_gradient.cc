// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/bare_gradient.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/job/initial_weights.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {

BareGradient::BareGradient(const Job& job, int threads, const std::string& isa) : pool_(threads) {
  absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(job.model, {&pool_, isa});
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", std::string(model.status().message()).c_str());
    std::abort();
  }
  model_ = *std::move(model);
  for (const TensorSpec& tensor : job.model.tensors) {
    DrawInitialWeights(tensor, job.seed, 0, absl::MakeSpan(weights_.emplace_back(tensor.size())));
  }
  const std::shared_ptr<const Dataset> images = SyntheticDataset(job.batch_size, 1);
  std::vector<int64_t> all(job.batch_size);
  std::iota(all.begin(), all.end(), 0);
  GatherBatch(*images, all, batch_);
}

void BareGradient::Run() {
  benchmark::DoNotOptimize(model_->Gradient(weights_, batch_, {}, gradient_).ok());
}

}  // namespace percentdelta

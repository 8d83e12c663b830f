// SPDX-License-Identifier: Apache-2.0

// The gradient of the paper's network over a batch, without a cluster.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_BARE_GRADIENT_H_
#define PERCENTDELTA_TESTS_BENCHMARK_BARE_GRADIENT_H_

#include <memory>
#include <string>

#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"

namespace percentdelta {

// With initial weights, on synthetic images. Not thread-safe. Aborts if the ISA is unknown or
// unsupported.
class BareGradient {
 public:
  // If `isa` is empty, uses the processor's best.
  BareGradient(const Job& job, int threads, const std::string& isa);
  void Run();

  ThreadPool& pool() { return pool_; }

 private:
  ThreadPool pool_;
  std::unique_ptr<Model> model_;
  TensorValues weights_;
  Batch batch_;
  TensorValues gradient_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_BARE_GRADIENT_H_

// SPDX-License-Identifier: Apache-2.0

#include "tests/fuzz/small_shard.h"

#include <utility>

namespace percentdelta {

Job TinyJob() {
  Job job;
  job.name = "tiny";
  job.model.architecture = "none";
  job.model.tensors = {
      {"a/weights", {2, 3}, ConstantInitializer{0.5}},
      {"a/biases", {3}, ConstantInitializer{0.1}},
      {"b/scalar", {}, ConstantInitializer{-0.5}},
  };
  job.optimizer = {0.03, PercentDeltaRule{1e-3}};
  job.gradients_per_step = 1;
  job.max_steps = 4;
  job.batch_size = 4;
  job.seed = 7;
  job.data = {40, 10};
  return job;
}

SmallShard::SmallShard() : pool_(std::make_unique<ThreadPool>(1)) {
  ShardState::Options options;
  options.job = TinyJob();
  options.generation = kSmallGeneration;
  options.pool = pool_.get();
  shard_.Open(std::make_shared<ShardState>(std::move(options)));
}

SmallShard::~SmallShard() {
  shard_.Close();
  pool_.reset();
}

}  // namespace percentdelta

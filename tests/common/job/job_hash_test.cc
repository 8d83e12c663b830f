// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/job/job_codec.h"
#include "tests/common/job/full_job.h"

namespace percentdelta {
namespace {

using Change = std::function<void(Job&)>;

TEST(JobHashTest, IsStable) {
  EXPECT_EQ(JobHash(FullJob()), JobHash(FullJob()));
  // `protoc --encode=percentdelta.v1.Job | sha256sum` of the same job.
  EXPECT_EQ(JobHash(FullJob()), "d6cbe8d91d12afae01e489e1c2d22a207c8030ce692cd16866e5f1de70d86b6f");
}

TEST(JobHashTest, DependsOnEveryField) {
  const std::vector<Change> changes = {
      [](Job& job) { job.name += "x"; },
      [](Job& job) { job.model.architecture += "x"; },
      [](Job& job) { job.model.tensors[0].name += "x"; },
      [](Job& job) {
        job.model.tensors[0].shape = {4, 3};
      },
      [](Job& job) { job.model.tensors[0].shape = {12}; },
      [](Job& job) { job.model.tensors[0].initializer = TruncatedNormalInitializer{0.2}; },
      [](Job& job) { job.model.tensors[0].initializer = ConstantInitializer{0.1}; },
      [](Job& job) { job.model.tensors[1].initializer = ConstantInitializer{0.5}; },
      [](Job& job) { job.model.tensors[0].initializer = FileInitializer{}; },
      [](Job& job) {
        job.initial_weights = InitialWeightsSpec{"/a", "b"};
      },
      [](Job& job) { std::swap(job.model.tensors[0], job.model.tensors[1]); },
      [](Job& job) { job.model.tensors.pop_back(); },
      [](Job& job) { job.model.tensors[0].buffer = true; },
      [](Job& job) { job.model.tensors[1].buffer = true; },
      [](Job& job) { job.optimizer.learning_rate = 0.04; },
      [](Job& job) { job.optimizer.rule = PercentDeltaRule{1e-5}; },
      [](Job& job) { job.optimizer.rule = SgdRule{}; },
      [](Job& job) { job.optimizer.rule = AdaGradRule{}; },
      [](Job& job) {
        job.optimizer.rule = AdaGradRule{0.1, 0};
      },
      [](Job& job) {
        job.optimizer.rule = AdaGradRule{0, 0.1};
      },
      [](Job& job) { job.optimizer.rule = AdamRule{}; },
      [](Job& job) { job.optimizer.rule = AdamRule{0.8}; },
      [](Job& job) {
        job.optimizer.rule = AdamRule{0.9, 0.99};
      },
      [](Job& job) {
        job.optimizer.rule = AdamRule{0.9, 0.999, 1e-7};
      },
      [](Job& job) { job.optimizer.rule = LarsRule{}; },
      [](Job& job) { job.optimizer.rule = LarsRule{0.5}; },
      [](Job& job) {
        job.optimizer.rule = LarsRule{1, 0.1};
      },
      [](Job& job) { job.schedule = {}; },
      [](Job& job) {
        job.schedule = {LinearDecay{0.002, 0.01}};
      },
      [](Job& job) {
        job.schedule = {LinearDecay{0.001, 0.02}};
      },
      [](Job& job) {
        job.schedule = {StepDecay{10, 0.5}};
      },
      [](Job& job) {
        job.schedule = {StepDecay{11, 0.5}};
      },
      [](Job& job) {
        job.schedule = {StepDecay{10, 0.6}};
      },
      [](Job& job) {
        job.schedule = {CosineDecay{10, 0.5}};
      },
      [](Job& job) {
        job.schedule = {CosineDecay{11, 0.5}};
      },
      [](Job& job) {
        job.schedule = {CosineDecay{10, 0.6}};
      },
      [](Job& job) { job.schedule.warmup_steps = 5; },
      [](Job& job) { job.momentum.nesterov = true; },
      [](Job& job) { job.gradient_clipping = GradientClippingSpec{1}; },
      [](Job& job) { job.gradient_clipping = GradientClippingSpec{2}; },
      [](Job& job) { job.weight_decay = WeightDecaySpec{1}; },
      [](Job& job) { job.weight_decay = WeightDecaySpec{2}; },
      [](Job& job) { job.model.dropout_keep_probability = 0.5; },
      [](Job& job) { job.momentum.coefficient = 0.8; },
      [](Job& job) { job.momentum.dampening = 0; },
      [](Job& job) { job.gradients_per_step = 3; },
      [](Job& job) { job.max_steps = 101; },
      [](Job& job) { job.batch_size = 6; },
      [](Job& job) { job.seed = 0; },
      [](Job& job) { job.evaluation.reset(); },
      [](Job& job) { job.evaluation->every_steps = 11; },
      [](Job& job) { job.evaluation->batch_size = 21; },
      [](Job& job) { job.data.training_examples = 61; },
      [](Job& job) { job.data.test_examples = 41; },
      [](Job& job) { job.any_arithmetic = true; },
  };
  std::set<std::string> hashes = {JobHash(FullJob())};
  for (size_t i = 0; i < changes.size(); ++i) {
    Job job = FullJob();
    changes[i](job);
    EXPECT_TRUE(hashes.insert(JobHash(job)).second) << "change " << i;
  }
}

}  // namespace
}  // namespace percentdelta

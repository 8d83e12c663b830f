// SPDX-License-Identifier: Apache-2.0

// The update rules' results on a few entries, computed by hand. All of them against the reference,
// and what they have in common: optimizer_test.cc.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "server/update/norms.h"
#include "server/update/optimizer.h"
#include "tests/server/test_jobs.h"
#include "tests/server/update/update_cases.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;

TEST(StateNamesTest, Table) {
  Job job = SmallJob();
  job.momentum = {};
  for (const auto& [rule, names] : std::vector<std::pair<UpdateRule, std::vector<std::string>>>{
           {PercentDeltaRule{1e-3}, {}},
           {SgdRule{}, {}},
           {AdaGradRule{}, {"accumulator"}},
           {AdamRule{}, {"first_moment", "second_moment"}},
           {LarsRule{}, {}},
           {LambRule{}, {"first_moment", "second_moment"}}}) {
    job.optimizer.rule = rule;
    EXPECT_EQ(StateNames(job), names);
  }
  job.optimizer.rule = LarsRule{};
  job.momentum = {0.9, 0.9};
  EXPECT_THAT(StateNames(job), ElementsAre("velocity"));
  job.momentum = {0, 0.5};
  EXPECT_THAT(StateNames(job), ElementsAre("velocity"));
  EXPECT_THAT(StateNames(job, job.model.tensors[kFew]), ElementsAre("velocity"));
  job.model.tensors[kFew].buffer = true;
  EXPECT_THAT(StateNames(job, job.model.tensors[kFew]), ElementsAre());
}

// Equation 7 by hand: ratios 3/1, 1/2, 0/4, of three entries.
TEST(PercentDeltaTest, MultiplierIsTheInverseMeanRatio) {
  const auto optimizer = MakeOptimizer(PercentDeltaRule{1e-30});
  EXPECT_EQ(optimizer->epsilon(), 1e-30);
  TensorContext context;
  context.entries = 3;
  context.norms = BlockNorms({{3, 1, 0}}, {{1, -2, 4}}, optimizer->epsilon());
  EXPECT_DOUBLE_EQ(optimizer->Multiplier(context), 6.0 / 7.0);
}

// Equation 8: a scalar changes by eta of its size, whatever its gradient's size.
TEST(PercentDeltaTest, ScalarChangesByItsPercentage) {
  Job job;
  job.optimizer = {0.03, PercentDeltaRule{1e-30}};
  const auto optimizer = MakeOptimizer(job.optimizer.rule);
  for (const float gradient : {5.0F, 1e-20F, 1e30F}) {
    const std::vector<float> g = {gradient};
    const std::vector<float> w = {-2};
    std::vector<float> next(1);
    UpdateEntries(*optimizer, job,
                  MakeTensorContext(job, 0, 1, BlockNorms(g, w, optimizer->epsilon())), g, w, {},
                  absl::MakeSpan(next));
    EXPECT_FLOAT_EQ(next[0], -2.06F) << gradient;
  }
}

TEST(SgdTest, MultiplierIsOne) {
  const auto optimizer = MakeOptimizer(SgdRule{});
  EXPECT_GT(optimizer->epsilon(), 0);
  TensorContext context;
  context.norms = BlockNorms({{1e-30F, 0}}, {{1, 1}}, 1e-6);
  EXPECT_EQ(optimizer->Multiplier(context), 1);
}

// An entry that has had no gradient divides 0 by 0, and stays; tiny gradients count in full.
TEST(AdaGradTest, EntriesWithoutAGradientStay) {
  Job job;
  job.optimizer = {0.5, AdaGradRule{}};
  const auto optimizer = MakeOptimizer(job.optimizer.rule);
  const std::vector<float> gradient = {0, 1e-30F, -3};
  const std::vector<float> weights = {1, 1, 1};
  std::vector<float> accumulator(3);
  std::vector<float> next(3);
  UpdateEntries(*optimizer, job, MakeTensorContext(job, 0, 3, BlockNorms(gradient, weights, 1e-6)),
                gradient, weights, {absl::MakeSpan(accumulator)}, absl::MakeSpan(next));
  EXPECT_THAT(next, ElementsAre(1, 0.5F, 1.5F));
  EXPECT_THAT(accumulator, ElementsAre(0, 0, 9));
}

// The bias of the first steps' moments, which began at zero, is corrected.
TEST(AdamTest, FirstStepsAreOfTheLearningRate) {
  Job job;
  job.optimizer = {0.25, AdamRule{}};
  const auto optimizer = MakeOptimizer(job.optimizer.rule);
  const std::vector<float> gradient = {1, -8};
  std::vector<float> weights = {0, 0};
  std::vector<std::vector<float>> state(2, std::vector<float>(2));
  std::vector<float> next(2);
  for (int64_t step = 0; step < 4; ++step) {
    UpdateEntries(*optimizer, job, MakeTensorContext(job, step, 2, {}), gradient, weights,
                  StateRange(absl::MakeSpan(state), 0, 2), absl::MakeSpan(next));
    weights.swap(next);
    EXPECT_NEAR(weights[0], -0.25 * (step + 1), 1e-6);
    EXPECT_NEAR(weights[1], 0.25 * (step + 1), 1e-6);
  }
}

// The first step's direction is the gradient's sign, of length 2 here, and ||W|| = 10; with a
// maximum of 1 for it; and without weights.
TEST(LambTest, ChangeHasTheLengthOfTheWeights) {
  const std::vector<float> gradient = {1, -8, 3e-3F, 5};
  for (const auto& [weight, max_norm, change] :
       std::vector<std::tuple<float, double, float>>{{5, 0, 5}, {5, 1, 0.5F}, {0, 1, 1}}) {
    Job job;
    job.optimizer = {0.25, LambRule{0.9, 0.999, 1e-30, 0, max_norm}};
    const auto optimizer = MakeOptimizer(job.optimizer.rule);
    UpdatedTensor tensor(job, std::vector<float>(4, weight));
    tensor.Step(job, *optimizer, 0, gradient);
    for (size_t i = 0; i < 4; ++i) {
      const float expected = gradient[i] > 0 ? weight - 0.25F * change : weight + 0.25F * change;
      EXPECT_NEAR(tensor.weights[i], expected, 1e-6) << i;
    }
  }
}

// Proposing leaves the state as it is.
TEST(LambTest, ProposingChangesNothing) {
  Job job;
  job.optimizer = {0.25, LambRule{}};
  const auto optimizer = MakeOptimizer(job.optimizer.rule);
  UpdatedTensor tensor(job, {1, 2, 3});
  tensor.Step(job, *optimizer, 0, {1, 2, 3});
  const std::vector<std::vector<float>> state = tensor.state;
  tensor.Reduce(job, *optimizer, 1, {3, 2, 1});
  EXPECT_GT(tensor.context.delta_norms.l1, 0);
  EXPECT_EQ(tensor.state, state);
}

}  // namespace
}  // namespace percentdelta

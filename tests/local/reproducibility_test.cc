// SPDX-License-Identifier: Apache-2.0

// The defining property of the project: the weights are the same, bit for bit, for any number of
// shards, workers and threads, and with or without shared memory.

#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

constexpr int64_t kSteps = 20;

class ReproducibilityTest : public testing::TestWithParam<std::tuple<int, int, int>> {};

std::string ChecksumWith(int shards, int workers, int threads) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(kSteps));
  options.shards = shards;
  options.workers = workers;
  options.worker_threads = threads;
  options.server_threads = threads;
  options.shares_memory = workers != 2;  // both transports: kExpected uses shared memory
  return TrainAndChecksum(std::move(options));
}

TEST_P(ReproducibilityTest, SameWeightsAsOneShardOneWorkerOneThread) {
  static const std::string kExpected = ChecksumWith(1, 1, 1);
  ASSERT_EQ(kExpected.size(), 64U);
  const auto [shards, workers, threads] = GetParam();
  EXPECT_EQ(ChecksumWith(shards, workers, threads), kExpected);
}

INSTANTIATE_TEST_SUITE_P(Matrix, ReproducibilityTest,
                         testing::Combine(testing::Values(1, 2, 3), testing::Values(1, 2, 4),
                                          testing::Values(1, 2)),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "Shards",
                                               std::get<1>(info.param), "Workers",
                                               std::get<2>(info.param), "Threads");
                         });

// Rules with state, the stages around them, and dropout in the workers.
std::string OtherChecksumWith(const UpdateRule& rule, int shards, int workers, int threads) {
  Job job = SmallMnistJob(6);
  job.model.dropout_keep_probability = 0.5;
  job.optimizer = {1e-3, rule};
  if (!std::holds_alternative<LarsRule>(rule)) job.momentum = {};
  job.momentum.nesterov = true;
  job.schedule = {CosineDecay{6, 0.1}, 3};
  job.gradient_clipping = GradientClippingSpec{1};
  job.weight_decay = WeightDecaySpec{0.01};
  LocalCluster::Options options = SmallOptions(std::move(job));
  options.shards = shards;
  options.workers = workers;
  options.worker_threads = threads;
  options.server_threads = threads;
  return TrainAndChecksum(std::move(options));
}

TEST(ReproducibilityTest, OtherRulesToo) {
  for (const UpdateRule& rule : {UpdateRule(AdaGradRule{0.1, 0}), UpdateRule(AdamRule()),
                                 UpdateRule(LarsRule{1, 0.01}), UpdateRule(LambRule())}) {
    EXPECT_EQ(OtherChecksumWith(rule, 3, 2, 2), OtherChecksumWith(rule, 1, 1, 1)) << rule.index();
  }
}

TEST(ReproducibilityTest, AnotherSeedGivesOtherWeights) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(2));
  const std::string one = TrainAndChecksum(options);
  options.job.seed += 1;
  EXPECT_NE(TrainAndChecksum(options), one);
}

}  // namespace
}  // namespace percentdelta

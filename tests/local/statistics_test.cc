// SPDX-License-Identifier: Apache-2.0

// Statistics over RPC, as clients see them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cluster.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::SizeIs;

// The names are very long, so that one response holds only a few steps.
TEST(StatisticsTest, MoreThanFitsIntoOneResponse) {
  constexpr int64_t kSteps = 400;
  Job job = MadeUpJob(kSteps);
  job.gradients_per_step = 1;
  constexpr int kTensors = 30;
  job.model.tensors.clear();
  for (int i = 0; i < kTensors; ++i) {
    job.model.tensors.push_back(
        {absl::StrCat(std::string(240, 'a'), i, "/x"), {2}, ConstantInitializer{1}});
  }
  ServersOnly servers(job, 1);
  for (int64_t step = 0; step < kSteps; ++step) servers.TrainStep();
  servers.Pull(kSteps);

  Cluster::Options options;
  options.coordinator = servers.coordinator();
  const Cluster cluster(options);
  ASSERT_OK(cluster.WatchUpdateStatistics("", 0, [](const auto&, int64_t) { return true; }));
  const auto query = [&](const StatisticsQuery& query) {
    const absl::StatusOr<std::vector<StepStatistics>> steps = cluster.GetUpdateStatistics(query);
    EXPECT_OK(steps);
    return steps.value_or(std::vector<StepStatistics>());
  };
  for (const auto& [asked, first, count] :
       std::vector<std::tuple<StatisticsQuery, int64_t, size_t>>{{{}, 0, kSteps},
                                                                 {{"", 390}, 10, 390},
                                                                 {{"", 3}, 397, 3},
                                                                 {{"", 0, 20, 350}, 20, 331},
                                                                 {{"", 0, 0, 1}, 0, 2}}) {
    const std::vector<StepStatistics> steps = query(asked);
    ASSERT_THAT(steps, SizeIs(count));
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(steps[i].step, first + static_cast<int64_t>(i));
      EXPECT_THAT(steps[i].updates, SizeIs(kTensors));
    }
  }
}

// The delta of a split tensor, under a rule whose delta is not a multiple of the gradient, is
// bit-identical to that on one server.
TEST(StatisticsTest, DeltasOfSplitTensorsUnderAdam) {
  constexpr int64_t kSteps = 5;
  std::vector<std::vector<StepStatistics>> statistics;
  for (const int shards : {1, 3}) {
    Job job = MadeUpJob(kSteps);
    job.gradients_per_step = 1;
    job.optimizer = {1e-3, AdamRule()};
    job.momentum = {};
    ServersOnly servers(job, shards);
    for (int64_t step = 0; step < kSteps; ++step) servers.TrainStep();
    servers.Pull(kSteps);
    Cluster::Options options;
    options.coordinator = servers.coordinator();
    const Cluster cluster(options);
    ASSERT_OK(cluster.WatchUpdateStatistics("", 0, [](const auto&, int64_t) { return true; }));
    ASSERT_OK_AND_ASSIGN(const auto steps, cluster.GetUpdateStatistics({}));
    ASSERT_THAT(steps, SizeIs(kSteps));
    statistics.push_back(steps);
  }
  for (int64_t step = 0; step < kSteps; ++step) {
    for (size_t t = 0; t < statistics[0][step].updates.size(); ++t) {
      const TensorStatistics& one = statistics[0][step].updates[t];
      const TensorStatistics& three = statistics[1][step].updates[t];
      SCOPED_TRACE(absl::StrCat(one.tensor, " step ", step));
      EXPECT_EQ(three.tensor, one.tensor);
      EXPECT_EQ(three.multiplier, one.multiplier);
      EXPECT_EQ(three.relative_delta, one.relative_delta);
      EXPECT_GT(one.relative_delta, 0);
      // Adam's first step changes every entry by the learning rate.
      if (step == 0) {
        EXPECT_NEAR(one.relative_delta * one.weight_l1, 1e-3 * static_cast<double>(one.entries),
                    1e-5 * 1e-3 * static_cast<double>(one.entries));
      }
    }
  }
}

}  // namespace
}  // namespace percentdelta

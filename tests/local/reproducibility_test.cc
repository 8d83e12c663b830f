// The signature of the project: the weights are the same, bit for bit, whatever the number of
// shards, workers and threads.

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

TEST(ReproducibilityTest, AnotherSeedGivesOtherWeights) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(2));
  const std::string one = TrainAndChecksum(options);
  options.job.seed += 1;
  EXPECT_NE(TrainAndChecksum(options), one);
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/job/initial_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "common/job/partition.h"

namespace percentdelta {
namespace {

using ::testing::Each;

TensorSpec Normal(const std::string& name, double stddev, int64_t entries) {
  return {name, {entries}, TruncatedNormalInitializer{stddev}};
}

std::vector<float> Draw(const TensorSpec& tensor, uint64_t seed) {
  std::vector<float> values(tensor.size(), -99);
  DrawInitialWeights(tensor, seed, 0, absl::MakeSpan(values));
  return values;
}

// From an independent program, written from the comments of initial_weights.h and random.h.
TEST(InitialWeightsTest, GoldenValues) {
  const std::vector<float> first = Draw(Normal("conv1/weights", 0.1, 4), 1);
  EXPECT_EQ(first, (std::vector<float>{0x1.396bcap-5F, -0x1.bd778cp-5F, -0x1.5a4fa4p-3F,
                                       -0x1.409fd2p-5F}));
  float value = 0;
  const TensorSpec fc1 = Normal("fc1/weights", 0.1, int64_t{3136} * 1024);
  DrawInitialWeights(fc1, 1, fc1.size() - 1, absl::MakeSpan(&value, 1));
  EXPECT_EQ(value, -0x1.f43350p-4F);
  DrawInitialWeights(fc1, 2, 0, absl::MakeSpan(&value, 1));
  EXPECT_EQ(value, 0x1.105f04p-8F);
}

TEST(InitialWeightsTest, DoesNotDependOnTheRange) {
  const TensorSpec tensor = Normal("a/weights", 0.1, 2 * kBlockEntries + 77);
  const std::vector<float> whole = Draw(tensor, 3);
  for (const int64_t piece : {int64_t{1000}, kBlockEntries, tensor.size()}) {
    std::vector<float> values(tensor.size());
    for (int64_t begin = 0; begin < tensor.size(); begin += piece) {
      DrawInitialWeights(tensor, 3, begin, absl::MakeSpan(values).subspan(begin, piece));
    }
    EXPECT_EQ(values, whole) << "pieces of " << piece;
  }
}

TEST(InitialWeightsTest, DependsOnSeedAndName) {
  const std::vector<float> values = Draw(Normal("a/weights", 0.1, 100), 3);
  EXPECT_EQ(values, Draw(Normal("a/weights", 0.1, 100), 3));
  EXPECT_NE(values, Draw(Normal("a/weights", 0.1, 100), 4));
  EXPECT_NE(values, Draw(Normal("b/weights", 0.1, 100), 3));
}

// The variance of a normal truncated at two standard deviations is 1 - 4 phi(2) / (2 Phi(2) - 1) =
// 0.7737 of the untruncated one's.
TEST(InitialWeightsTest, IsATruncatedNormal) {
  constexpr int64_t kEntries = 200000;
  constexpr double kStddev = 0.25;
  const std::vector<float> values = Draw(Normal("w", kStddev, kEntries), 17);
  double sum = 0;
  double squares = 0;
  int64_t within_one = 0;
  for (const float value : values) {
    ASSERT_LE(std::fabs(value), 2 * kStddev);
    sum += value;
    squares += static_cast<double>(value) * value;
    if (std::fabs(value) < kStddev) ++within_one;
  }
  EXPECT_NEAR(sum / kEntries, 0, 5 * kStddev / std::sqrt(kEntries));
  EXPECT_NEAR(squares / kEntries / (kStddev * kStddev), 0.7737, 0.01);
  EXPECT_NEAR(static_cast<double>(within_one) / kEntries, 0.6827 / 0.9545, 0.006);
}

TEST(InitialWeightsTest, ConstantsAndZeros) {
  EXPECT_THAT(Draw({"b", {5}, ConstantInitializer{0.1}}, 1), Each(0.1F));
  EXPECT_THAT(Draw({"b", {}, ConstantInitializer{-3}}, 1), Each(-3.0F));
  EXPECT_THAT(Draw({"b", {7, 3}, ConstantInitializer{0}}, 1), Each(0.0F));
}

TEST(InitialWeightsTest, NothingToDraw) {
  DrawInitialWeights(Normal("w", 1, 10), 1, 10, {});
  DrawInitialWeights({"b", {5}, ConstantInitializer{1}}, 1, 5, {});
}

}  // namespace
}  // namespace percentdelta

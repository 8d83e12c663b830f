// SPDX-License-Identifier: Apache-2.0

#include "common/job/initial_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/float_bytes.h"
#include "common/base/sha256.h"
#include "common/job/partition.h"

namespace percentdelta {
namespace {

using ::testing::Each;
using Kind = ScaledInitializer::Kind;

TensorSpec Truncated(const std::string& name, double stddev, int64_t entries) {
  return {name, {entries}, TruncatedNormalInitializer{stddev}};
}

std::vector<float> Draw(const TensorSpec& tensor, uint64_t seed) {
  std::vector<float> values(tensor.size(), -99);
  DrawInitialWeights(tensor, seed, 0, absl::MakeSpan(values));
  return values;
}

// From an independent program, written from the comments of initial_weights.h and random.h.
TEST(InitialWeightsTest, GoldenValues) {
  const std::vector<float> first = Draw(Truncated("conv1/weights", 0.1, 4), 1);
  EXPECT_EQ(first, (std::vector<float>{0x1.396bcap-5F, -0x1.bd778cp-5F, -0x1.5a4fa4p-3F,
                                       -0x1.409fd2p-5F}));
  float value = 0;
  const TensorSpec fc1 = Truncated("fc1/weights", 0.1, int64_t{3136} * 1024);
  DrawInitialWeights(fc1, 1, fc1.size() - 1, absl::MakeSpan(&value, 1));
  EXPECT_EQ(value, -0x1.f43350p-4F);
  DrawInitialWeights(fc1, 2, 0, absl::MakeSpan(&value, 1));
  EXPECT_EQ(value, 0x1.105f04p-8F);
}

TEST(InitialWeightsTest, DoesNotDependOnTheRange) {
  const TensorSpec tensor = Truncated("a/weights", 0.1, 2 * kBlockEntries + 77);
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
  const std::vector<float> values = Draw(Truncated("a/weights", 0.1, 100), 3);
  EXPECT_EQ(values, Draw(Truncated("a/weights", 0.1, 100), 3));
  EXPECT_NE(values, Draw(Truncated("a/weights", 0.1, 100), 4));
  EXPECT_NE(values, Draw(Truncated("b/weights", 0.1, 100), 3));
}

// The variance of a normal truncated at two standard deviations is 1 - 4 phi(2) / (2 Phi(2) - 1) =
// 0.7737 of the untruncated one's.
TEST(InitialWeightsTest, IsATruncatedNormal) {
  constexpr int64_t kEntries = 200000;
  constexpr double kStddev = 0.25;
  const std::vector<float> values = Draw(Truncated("w", kStddev, kEntries), 17);
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

// Also from an independent program: the hash of 360 entries.
TEST(InitialWeightsTest, GoldenHashes) {
  struct Golden {
    Initializer initializer;
    std::string hash;
  };
  for (const Golden& golden : std::vector<Golden>{
           {UniformInitializer{-0.25, 0.1},
            "1518ec4ceaa38ec2ae8890aab4dece5891fe9b3c2ba128a087df2ba9c8ad6d27"},
           {NormalInitializer{0.5, 0.1},
            "a0c36034c5dd5b134dda4c0a45764bdec05eefe682f01901b2f8e15ca3c7007c"},
           {ScaledInitializer{Kind::kGlorotUniform, Layout::kInOut, 1},
            "f22d666376249d3f20f33960da67cc1f618fa7e46af1d06f4eccc08de85063b1"},
           {ScaledInitializer{Kind::kGlorotUniform, Layout::kOutIn, 0.5},
            "e48e6b8f23b5535102401fed4940f713e1d3ff33859705e9b090ad578dd89f7e"},
           {ScaledInitializer{Kind::kGlorotNormal, Layout::kInOut, 1},
            "75df3bd93f3e140beff7b19ec10f393e8fe05426b5b26647eaff5fc1cb544a50"},
           {ScaledInitializer{Kind::kGlorotNormal, Layout::kOutIn, 0.5},
            "f2a68964323c2bc4198368d7ceba94fce0dbf83395bb62c7fd0c5a3e530ded06"},
           {ScaledInitializer{Kind::kHeUniform, Layout::kInOut, 1},
            "14d488be8947806240d96b9468c9141a7bcdc01e906671ae41803e70097624db"},
           {ScaledInitializer{Kind::kHeUniform, Layout::kOutIn, 0.5},
            "752d20dd8e0b94f7511ef36005ac81c28dc3b205d99150dced36f058e6bb6263"},
           {ScaledInitializer{Kind::kHeNormal, Layout::kInOut, 1},
            "2de5ef2437c66e750123c9d17948c770faccbed16aff8c3418d5c2917059c2ef"},
           {ScaledInitializer{Kind::kHeNormal, Layout::kOutIn, 0.5},
            "bfe743fd98cf6f16892893c9ac50ae839a5327a2a52fa97761ace054cdd3fd0e"},
       }) {
    const TensorSpec tensor{"conv/weights", {3, 5, 4, 6}, golden.initializer};
    const std::vector<float> whole = Draw(tensor, 9);
    EXPECT_EQ(Sha256Hex(AsBytes(whole)), golden.hash) << InitializerName(golden.initializer);
    std::vector<float> part(100);
    DrawInitialWeights(tensor, 9, 77, absl::MakeSpan(part));
    EXPECT_EQ(part, std::vector<float>(whole.begin() + 77, whole.begin() + 177));
  }
}

// Mean and variance within five standard errors, and the range, of each distribution. The kurtosis
// tells uniform (1.8) from normal (3).
TEST(InitialWeightsTest, HasTheMomentsOfItsDistribution) {
  constexpr int64_t kInputs = 300;
  constexpr int64_t kOutputs = 500;
  struct Expected {
    Initializer initializer;
    double mean;
    double stddev;
    double kurtosis;
  };
  const double glorot = std::sqrt(2.0 / (kInputs + kOutputs));
  const double he = std::sqrt(2.0 / kInputs);
  for (const Expected& expected : std::vector<Expected>{
           {UniformInitializer{-1, 3}, 1, 4 / std::sqrt(12.0), 1.8},
           {NormalInitializer{-0.5, 0.25}, -0.5, 0.25, 3},
           {ScaledInitializer{Kind::kGlorotUniform, Layout::kInOut}, 0, glorot, 1.8},
           {ScaledInitializer{Kind::kGlorotNormal, Layout::kInOut}, 0, glorot, 3},
           {ScaledInitializer{Kind::kHeUniform, Layout::kInOut}, 0, he, 1.8},
           {ScaledInitializer{Kind::kHeNormal, Layout::kInOut, 3}, 0, 3 * he, 3},
           {ScaledInitializer{Kind::kHeNormal, Layout::kOutIn}, 0, std::sqrt(2.0 / kOutputs), 3},
       }) {
    SCOPED_TRACE(InitializerName(expected.initializer));
    const std::vector<float> values = Draw({"w", {kInputs, kOutputs}, expected.initializer}, 5);
    const auto count = static_cast<double>(values.size());
    double sum = 0;
    double squares = 0;
    double fourth = 0;
    double furthest = 0;
    for (const float value : values) {
      const double z = (value - expected.mean) / expected.stddev;
      sum += z;
      squares += z * z;
      fourth += z * z * z * z;
      furthest = std::max(furthest, std::fabs(z));
    }
    EXPECT_NEAR(sum / count, 0, 5 / std::sqrt(count));
    EXPECT_NEAR(squares / count, 1, 5 * std::sqrt((expected.kurtosis - 1) / count));
    EXPECT_NEAR(fourth / count, expected.kurtosis, 0.13);
    if (expected.kurtosis < 2) {
      EXPECT_LE(furthest, std::sqrt(3.0) * (1 + 1e-6));
      EXPECT_GE(furthest, std::sqrt(3.0) * (1 - 1e-3));
    } else {  // among 150000, beyond 4 with a probability of 0.9999, beyond 7 with one of 4e-7
      EXPECT_GE(furthest, 4);
      EXPECT_LE(furthest, 7);
    }
  }
}

// Between two neighbours there is one float: half of what is drawn rounds to the upper bound.
TEST(InitialWeightsTest, AUniformNeverReachesItsUpperBound) {
  const float low = 1;
  const float high = std::nextafter(low, 2.0F);
  EXPECT_THAT(Draw({"w", {1000}, UniformInitializer{low, high}}, 1), Each(low));
}

TEST(InitialWeightsTest, FansOfLayouts) {
  const auto fans = [](const std::vector<int64_t>& shape, Layout layout) {
    const Fans found = FansOf(shape, layout);
    return std::pair(found.inputs, found.outputs);
  };
  EXPECT_EQ(fans({3, 4}, Layout::kInOut), std::pair(3.0, 4.0));
  EXPECT_EQ(fans({3, 4}, Layout::kOutIn), std::pair(4.0, 3.0));
  EXPECT_EQ(fans({5, 5, 32, 64}, Layout::kInOut), std::pair(25 * 32.0, 25 * 64.0));
  EXPECT_EQ(fans({64, 32, 5, 5}, Layout::kOutIn), std::pair(25 * 32.0, 25 * 64.0));
  EXPECT_EQ(fans({7, 3, 4}, Layout::kInOut), std::pair(21.0, 28.0));
  EXPECT_EQ(fans({4, 3, 7}, Layout::kOutIn), std::pair(21.0, 28.0));
  EXPECT_EQ(ScaledStddev({Kind::kGlorotNormal, Layout::kInOut, 3}, {30, 20}), 3 * 0.2);
  EXPECT_EQ(ScaledStddev({Kind::kHeUniform, Layout::kOutIn, 3}, {7, 50}), 3 * 0.2);
}

TEST(InitialWeightsTest, ConstantsAndZeros) {
  EXPECT_THAT(Draw({"b", {5}, ConstantInitializer{0.1}}, 1), Each(0.1F));
  EXPECT_THAT(Draw({"b", {}, ConstantInitializer{-3}}, 1), Each(-3.0F));
  EXPECT_THAT(Draw({"b", {7, 3}, ConstantInitializer{0}}, 1), Each(0.0F));
}

TEST(InitialWeightsTest, NothingToDraw) {
  DrawInitialWeights(Truncated("w", 1, 10), 1, 10, {});
  DrawInitialWeights({"b", {5}, ConstantInitializer{1}}, 1, 5, {});
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

namespace percentdelta {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kGamma = 0x9e3779b97f4a7c15;

// The golden values below were computed by an independent program, from the comments of random.h.

TEST(RandomTest, MixingIsSplitMix64) {
  EXPECT_EQ(Mix64(0), 0U);
  EXPECT_EQ(Mix64(1), 0x5692161d100b05e5U);
  // The published first numbers of the generator with seed 0.
  EXPECT_EQ(Mix64(kGamma), 0xe220a8397b1dcdafU);
  EXPECT_EQ(Mix64(2 * kGamma), 0x6e789e6aa1b965f4U);
  EXPECT_EQ(Mix64(3 * kGamma), 0x06c45d188009454fU);
}

TEST(RandomTest, PairHashDependsOnTheOrder) {
  EXPECT_EQ(Hash64(0, 0), 0x48218226ff3cd4bfU);
  EXPECT_EQ(Hash64(1, 2), 0x081a5c1377856b73U);
  EXPECT_EQ(Hash64(2, 1), 0xf2826f98653e9e57U);
}

TEST(RandomTest, StringHashIsFnv1a) {
  EXPECT_EQ(HashString(""), 0xcbf29ce484222325U);
  EXPECT_EQ(HashString("a"), 0xaf63dc4c8601ec8cU);
  EXPECT_EQ(HashString("foobar"), 0x85944171f73967e8U);
  EXPECT_EQ(HashString("conv1/weights"), 0x2310a431240411c0U);
  EXPECT_NE(HashString("\xff"), HashString("\x7f"));  // char's sign does not matter
}

TEST(RandomTest, StreamHasItsGoldenValues) {
  RandomStream random(1, 2);
  EXPECT_EQ(random.Next(), 0xd2f6d0470be1a7b1U);
  EXPECT_EQ(random.Next(), 0xe5ea3dccf500a9afU);
  EXPECT_EQ(random.Next(), 0x57b834b23cdc9d17U);
  EXPECT_EQ(random.Next(), 0xeb3aa0ce549fec8cU);
}

TEST(RandomTest, BelowHasItsGoldenValues) {
  RandomStream random(1, 2);
  std::vector<uint64_t> numbers(12);
  for (uint64_t& number : numbers) number = random.Below(10);
  EXPECT_THAT(numbers, ElementsAre(5, 7, 1, 8, 5, 9, 6, 0, 4, 1, 0, 1));
}

TEST(RandomTest, BelowDrawsAgainInTheIncompleteLastRound) {
  // Almost every second number is drawn again; here, the third one is (see the stream above).
  constexpr uint64_t kBound = (uint64_t{1} << 63) + 1;
  RandomStream random(1, 2);
  EXPECT_EQ(random.Below(kBound), 0x52f6d0470be1a7b0U);
  EXPECT_EQ(random.Below(kBound), 0x65ea3dccf500a9aeU);
  EXPECT_EQ(random.Below(kBound), 0x6b3aa0ce549fec8bU);
}

TEST(RandomTest, BelowTakesEveryBound) {
  RandomStream random(3, 4);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.Below(1), 0U);
  for (int i = 0; i < 100; ++i) EXPECT_LT(random.Below(~uint64_t{0}), ~uint64_t{0});
}

TEST(RandomTest, BelowIsEven) {
  RandomStream random(5, 6);
  std::array<int, 7> counts = {};
  for (int i = 0; i < 70000; ++i) ++counts[random.Below(7)];
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);  // 5.4 standard deviations
}

TEST(RandomTest, UniformHasItsGoldenValues) {
  RandomStream random(1, 2);
  EXPECT_EQ(random.Uniform(), 0.82407857641727);
  EXPECT_EQ(random.Uniform(), 0.8981054902442361);
  EXPECT_EQ(random.Uniform(), 0.3426545081282363);
}

TEST(RandomTest, UniformStaysInItsInterval) {
  RandomStream random(7, 8);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double number = random.Uniform();
    ASSERT_GE(number, 0);
    ASSERT_LT(number, 1);
    sum += number;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.005);  // 5.5 standard deviations
}

TEST(RandomTest, StreamsDiffer) {
  EXPECT_NE(RandomStream(1, 2).Next(), RandomStream(2, 1).Next());
  EXPECT_NE(RandomStream(1, 2).Next(), RandomStream(1, 3).Next());
}

}  // namespace
}  // namespace percentdelta

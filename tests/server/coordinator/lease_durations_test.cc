// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/lease_durations.h"

#include <gtest/gtest.h>

#include <optional>

namespace percentdelta {
namespace {

TEST(LeaseDurationsTest, KnowsNothingAtFirst) {
  const LeaseDurations durations;
  EXPECT_EQ(durations.Longest(), std::nullopt);
  EXPECT_EQ(durations.Deadline(), absl::Seconds(60));
  EXPECT_EQ(durations.SlowAfter(), absl::Seconds(20));
}

TEST(LeaseDurationsTest, FollowsTheLongestOfTheLast32) {
  LeaseDurations durations;
  durations.Add(absl::Seconds(7));
  for (int i = 0; i < 31; ++i) durations.Add(absl::Seconds(3));
  EXPECT_EQ(durations.Longest(), absl::Seconds(7));
  EXPECT_EQ(durations.Deadline(), absl::Seconds(35));
  EXPECT_EQ(durations.SlowAfter(), absl::Seconds(14));
  durations.Add(absl::Seconds(3));
  EXPECT_EQ(durations.Longest(), absl::Seconds(3));
}

TEST(LeaseDurationsTest, HasLimits) {
  LeaseDurations durations;
  durations.Add(absl::Milliseconds(1));
  EXPECT_EQ(durations.Deadline(), absl::Seconds(2));
  EXPECT_EQ(durations.SlowAfter(), absl::Milliseconds(500));
  durations.Add(absl::Hours(1));
  EXPECT_EQ(durations.Deadline(), absl::Minutes(10));
}

}  // namespace
}  // namespace percentdelta

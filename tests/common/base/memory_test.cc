// SPDX-License-Identifier: Apache-2.0

#include "common/base/memory.h"

#include <gtest/gtest.h>

namespace percentdelta {
namespace {

constexpr int64_t kNeeded = 64'000'000;

// A rule one interval after a trim.
TrimRule SettledRule() {
  TrimRule rule;
  EXPECT_FALSE(rule.ShouldTrim(kNeeded));
  return rule;
}

TEST(TrimRuleTest, LeavesWhatStepsNeed) {
  TrimRule rule = SettledRule();
  for (int i = 2; i < TrimRule::kMaxIntervals; ++i)
    EXPECT_FALSE(rule.ShouldTrim(kNeeded + i % 3)) << i;
}

TEST(TrimRuleTest, TrimsWhatAccumulated) {
  TrimRule rule = SettledRule();
  EXPECT_FALSE(rule.ShouldTrim(kNeeded + kNeeded / 32));
  EXPECT_TRUE(rule.ShouldTrim(kNeeded + kNeeded / 32 + 1));
}

// Usage one interval after a trim is what steps need, be it more or less than before.
TEST(TrimRuleTest, MeasuresAgainAfterATrim) {
  TrimRule rule = SettledRule();
  EXPECT_TRUE(rule.ShouldTrim(2 * kNeeded));
  EXPECT_FALSE(rule.ShouldTrim(kNeeded / 2));
  EXPECT_TRUE(rule.ShouldTrim(kNeeded));
  EXPECT_FALSE(rule.ShouldTrim(3 * kNeeded));
  EXPECT_FALSE(rule.ShouldTrim(3 * kNeeded));
}

// The estimate was taken at a peak.
TEST(TrimRuleTest, TrimsOnceAMinuteInAnyCase) {
  TrimRule rule = SettledRule();
  for (int i = 2; i < TrimRule::kMaxIntervals; ++i) EXPECT_FALSE(rule.ShouldTrim(kNeeded / 2)) << i;
  EXPECT_TRUE(rule.ShouldTrim(kNeeded / 2));
}

}  // namespace
}  // namespace percentdelta

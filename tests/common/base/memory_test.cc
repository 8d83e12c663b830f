#include "common/base/memory.h"

#include <gtest/gtest.h>

namespace percentdelta {
namespace {

constexpr int64_t kNeeded = 64'000'000;

// One interval after a trim.
TrimRule SettledRule() {
  TrimRule rule;
  EXPECT_FALSE(rule.Trims(kNeeded));
  return rule;
}

TEST(TrimRuleTest, LeavesWhatStepsNeed) {
  TrimRule rule = SettledRule();
  for (int i = 2; i < TrimRule::kLongest; ++i) EXPECT_FALSE(rule.Trims(kNeeded + i % 3)) << i;
}

TEST(TrimRuleTest, TrimsWhatPiledUp) {
  TrimRule rule = SettledRule();
  EXPECT_FALSE(rule.Trims(kNeeded + kNeeded / 32));
  EXPECT_TRUE(rule.Trims(kNeeded + kNeeded / 32 + 1));
}

// What is there an interval after a trim is what steps need, be it more or less than before.
TEST(TrimRuleTest, LooksAnewAfterATrim) {
  TrimRule rule = SettledRule();
  EXPECT_TRUE(rule.Trims(2 * kNeeded));
  EXPECT_FALSE(rule.Trims(kNeeded / 2));
  EXPECT_TRUE(rule.Trims(kNeeded));
  EXPECT_FALSE(rule.Trims(3 * kNeeded));
  EXPECT_FALSE(rule.Trims(3 * kNeeded));
}

// The process was seen in a bad moment.
TEST(TrimRuleTest, TrimsOnceInAWhileAnyway) {
  TrimRule rule = SettledRule();
  for (int i = 2; i < TrimRule::kLongest; ++i) EXPECT_FALSE(rule.Trims(kNeeded / 2)) << i;
  EXPECT_TRUE(rule.Trims(kNeeded / 2));
}

}  // namespace
}  // namespace percentdelta

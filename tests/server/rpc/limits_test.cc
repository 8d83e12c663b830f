// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

TEST(LimitsTest, ChangesTheNamedOnes) {
  ASSERT_OK_AND_ASSIGN(const Limits limits,
                       ParseLimits("pushes=7,queries_per_connection=2,stall=1m,push_bytes=5000"));
  EXPECT_EQ(limits.of(CallKind::kPush).total, 7);
  EXPECT_EQ(limits.of(CallKind::kQuery).per_connection, 2);
  EXPECT_EQ(limits.stall, absl::Minutes(1));
  EXPECT_EQ(limits.push_bytes, 5000);
  ASSERT_OK_AND_ASSIGN(const Limits others,
                       ParseLimits("pushes_per_caller=3,request_bytes=4096,name_bytes=64,"
                                   "lease_deadlines=2,connections_per_address=9"));
  EXPECT_EQ(others.of(CallKind::kPush).per_caller, 3);
  EXPECT_EQ(others.request_bytes, 4096);
  EXPECT_EQ(others.name_bytes, 64);
  EXPECT_EQ(others.lease_deadlines, 2);
  EXPECT_EQ(others.connections_per_address, 9);
  EXPECT_EQ(limits.of(CallKind::kPull).total, Limits().of(CallKind::kPull).total);
  EXPECT_OK(ParseLimits(""));
}

TEST(LimitsTest, Refuses) {
  const struct {
    std::string text;
    std::string message;
  } rows[] = {
      {"pushs=7",
       "no limit \"pushs\"; there are pushes, pushes_per_connection, pushes_per_caller, pulls"},
      {"pushes=0", "pushes: expected a number in 1..1000000, got \"0\""},
      {"pushes", "pushes: expected a number in 1..1000000, got \"\""},
      {"pushes=x\n", "got \"x\\n\""},
      {"pushes=1,pushes=2", "pushes: expected it once, got it twice"},
      {"stall=5", "stall: expected a duration in 1s..24h, such as 30s, got \"5\""},
      {"stall=10ms", "got \"10ms\""},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(ParseLimits(row.text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(row.message)));
  }
}

// What the help shows is what --limits takes.
TEST(LimitsTest, HelpListsTheDefaults) {
  const std::string help = LimitsHelp();
  EXPECT_THAT(help, HasSubstr("  pushes=256  "));
  EXPECT_THAT(help, HasSubstr("  stall=30s  "));
}

}  // namespace
}  // namespace percentdelta

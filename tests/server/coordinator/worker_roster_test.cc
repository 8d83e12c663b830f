#include "server/coordinator/worker_roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr absl::Duration kStart = absl::Hours(1);

TEST(WorkerRosterTest, CountsTheWorkersOfTheLastMinute) {
  WorkerRoster roster;
  EXPECT_EQ(roster.Count(kStart), 0);
  roster.See("a", kStart);
  roster.See("b", kStart + absl::Seconds(10));
  roster.See("a", kStart + absl::Seconds(20));
  EXPECT_EQ(roster.Count(kStart + absl::Seconds(20)), 2);
  EXPECT_EQ(roster.Count(kStart + absl::Seconds(70)), 2);
  EXPECT_EQ(roster.Count(kStart + absl::Seconds(71)), 1);
  EXPECT_EQ(roster.Count(kStart + absl::Seconds(81)), 0);
  roster.See("c", kStart + absl::Seconds(90));
  EXPECT_EQ(roster.Count(kStart + absl::Seconds(90)), 1);
}

TEST(WorkerRosterTest, SendsAwayForAMinute) {
  WorkerRoster roster;
  roster.See("a", kStart);
  EXPECT_TRUE(roster.CheckWelcome("a", kStart).ok());
  roster.SendAway("a", "its loss is not finite", kStart);
  const absl::Status refused = roster.CheckWelcome("a", kStart + absl::Seconds(18));
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("worker a"), HasSubstr("its loss is not finite"), HasSubstr("42s")));
  EXPECT_TRUE(roster.CheckWelcome("b", kStart).ok());
  EXPECT_TRUE(roster.CheckWelcome("a", kStart + WorkerRoster::kAway).ok());
}

TEST(WorkerRosterTest, OthersArePresentAndMayWork) {
  WorkerRoster roster;
  roster.See("a", kStart);
  EXPECT_FALSE(roster.HasOtherThan({"a"}, kStart));
  EXPECT_TRUE(roster.HasOtherThan({"b"}, kStart));
  roster.See("b", kStart);
  EXPECT_TRUE(roster.HasOtherThan({"a"}, kStart));
  EXPECT_FALSE(roster.HasOtherThan({"a", "b"}, kStart));
  roster.SendAway("b", "why", kStart);
  EXPECT_FALSE(roster.HasOtherThan({"a"}, kStart));
  roster.See("c", kStart);
  EXPECT_TRUE(roster.HasOtherThan({"a"}, kStart + WorkerRoster::kPresence));
  EXPECT_FALSE(
      roster.HasOtherThan({"a"}, kStart + WorkerRoster::kPresence + absl::Milliseconds(1)));
}

TEST(WorkerRosterTest, SaysWhyNobodyWorks) {
  WorkerRoster roster;
  EXPECT_EQ(roster.AllAwayBecause(kStart), "");
  roster.SendAway("a", "its loss is not finite", kStart);
  EXPECT_THAT(roster.AllAwayBecause(kStart), HasSubstr("its loss is not finite"));
  roster.See("b", kStart);
  EXPECT_EQ(roster.AllAwayBecause(kStart), "");
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/status_matchers.h"

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

TEST(WorkerRosterTest, SuspendsForAMinute) {
  WorkerRoster roster;
  roster.See("a", kStart);
  EXPECT_OK(roster.CheckNotSuspended("a", kStart));
  roster.Suspend("a", "its loss is not finite", kStart);
  const absl::Status refused = roster.CheckNotSuspended("a", kStart + absl::Seconds(18));
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                AllOf(HasSubstr("worker a"), HasSubstr("its loss is not finite"),
                                      HasSubstr("42s"))));
  EXPECT_OK(roster.CheckNotSuspended("b", kStart));
  EXPECT_OK(roster.CheckNotSuspended("a", kStart + WorkerRoster::kSuspension));
}

TEST(WorkerRosterTest, OthersArePresentAndMayWork) {
  WorkerRoster roster;
  roster.See("a", kStart);
  EXPECT_FALSE(roster.HasOtherThan({"a"}, kStart));
  EXPECT_TRUE(roster.HasOtherThan({"b"}, kStart));
  roster.See("b", kStart);
  EXPECT_TRUE(roster.HasOtherThan({"a"}, kStart));
  EXPECT_FALSE(roster.HasOtherThan({"a", "b"}, kStart));
  roster.Suspend("b", "why", kStart);
  EXPECT_FALSE(roster.HasOtherThan({"a"}, kStart));
  roster.See("c", kStart);
  EXPECT_TRUE(roster.HasOtherThan({"a"}, kStart + WorkerRoster::kPresence));
  EXPECT_FALSE(
      roster.HasOtherThan({"a"}, kStart + WorkerRoster::kPresence + absl::Milliseconds(1)));
}

TEST(WorkerRosterTest, SaysWhyAllAreSuspended) {
  WorkerRoster roster;
  EXPECT_EQ(roster.WhyAllSuspended(kStart), "");
  roster.Suspend("a", "its loss is not finite", kStart);
  EXPECT_THAT(roster.WhyAllSuspended(kStart), HasSubstr("its loss is not finite"));
  roster.See("b", kStart);
  EXPECT_EQ(roster.WhyAllSuspended(kStart), "");
}

TEST(WorkerRosterTest, RemembersALimitedNumberOfNames) {
  WorkerRoster roster(2);
  for (const char* name : {"a", "b"}) {
    EXPECT_OK(roster.CheckRoom(name, kStart));
    roster.See(name, kStart);
  }
  EXPECT_OK(roster.CheckRoom("a", kStart));
  EXPECT_THAT(roster.CheckRoom("c", kStart),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("worker c: expected at most 2 workers"),
                             HasSubstr("--limits=workers="))));
  EXPECT_OK(roster.CheckRoom("c", kStart + absl::Minutes(2)));
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "worker/failure_streak.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

class ManualClock : public Clock {
 public:
  absl::Duration Now() const override { return now_; }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Duration now_ = absl::Hours(3);
};

class FailureStreakTest : public testing::Test {
 protected:
  ManualClock clock_;
  FailureStreak streak_{absl::Seconds(10), clock_};
};

TEST_F(FailureStreakTest, PausesDoubleUpToTheLongest) {
  for (const int longest_ms : {20, 40, 80, 160, 320, 640, 1280, 2000, 2000, 2000}) {
    const absl::Duration longest = absl::Milliseconds(longest_ms);
    EXPECT_THAT(streak_.Extend(), AllOf(Ge(longest / 2), Le(longest)));
  }
  EXPECT_EQ(streak_.length(), 10);
  streak_.End();
  EXPECT_EQ(streak_.length(), 0);
  EXPECT_LE(streak_.Extend(), absl::Milliseconds(20));
}

TEST_F(FailureStreakTest, GivesUpWhenServersAreUnreachableForTooLong) {
  const absl::Status error = absl::UnavailableError("shard 1 does not answer");
  EXPECT_OK(streak_.CheckReachable(error, false));
  clock_.Advance(absl::Seconds(10));
  EXPECT_OK(streak_.CheckReachable(error, false));
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_THAT(streak_.CheckReachable(error, false),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("10s"), HasSubstr("shard 1 does not answer"))));
}

TEST_F(FailureStreakTest, ALeaseThatReachedTheServersBeginsTheTimeAnew) {
  const absl::Status error = absl::DeadlineExceededError("slow");
  const struct {
    absl::Status lease;
    bool at_fault;
  } leases[] = {{absl::OkStatus(), false},
                {absl::FailedPreconditionError("the step is over"), false},
                {absl::InvalidArgumentError("the loss is not finite"), true}};
  for (const auto& [lease, at_fault] : leases) {
    EXPECT_OK(streak_.CheckReachable(error, false));
    clock_.Advance(absl::Seconds(9));
    EXPECT_OK(streak_.CheckReachable(lease, at_fault));
    clock_.Advance(absl::Seconds(9));
    EXPECT_OK(streak_.CheckReachable(error, false)) << lease;
    EXPECT_OK(streak_.CheckReachable(absl::OkStatus(), false));
  }
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/base/fault_point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

TEST(FaultPointTest, DoesNothingByDefault) {
  FaultPoints().Pass("rename");
  FaultPoints::Parse("", {"rename"})->Pass("rename");
}

TEST(FaultPointTest, RejectsUnknownPointsAndForms) {
  for (const std::string text :
       {"reanme", "rename:0", "rename:x", "rename:1:go", "rename:1:stop:2"}) {
    const auto faults = FaultPoints::Parse(text, {"sync", "rename"});
    EXPECT_THAT(faults, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("got " + text)))
        << text;
  }
}

TEST(FaultPointDeathTest, KillsWhenPassedForTheNthTime) {
  const FaultPoints faults = *FaultPoints::Parse("rename:2", {"sync", "rename"});
  faults.Pass("rename");
  faults.Pass("sync");
  FaultPoints copy;
  copy = faults;
  EXPECT_EXIT(copy.Pass("rename"), testing::KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace percentdelta

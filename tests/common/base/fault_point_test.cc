#include "common/base/fault_point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

TEST(FaultPointTest, NoneDoesNothing) {
  FaultPoints().Pass("rename");
  FaultPoints::Parse("", {"rename"})->Pass("rename");
}

TEST(FaultPointTest, RefusesWhatItDoesNotKnow) {
  for (const std::string text :
       {"reanme", "rename:0", "rename:x", "rename:1:go", "rename:1:stop:2"}) {
    const auto faults = FaultPoints::Parse(text, {"sync", "rename"});
    EXPECT_TRUE(absl::IsInvalidArgument(faults.status())) << text;
    EXPECT_THAT(std::string(faults.status().message()), HasSubstr("got " + text)) << text;
  }
}

TEST(FaultPointDeathTest, KillsAtTheCountedPassing) {
  const FaultPoints faults = *FaultPoints::Parse("rename:2", {"sync", "rename"});
  faults.Pass("rename");
  faults.Pass("sync");
  FaultPoints copy;
  copy = faults;
  EXPECT_EXIT(copy.Pass("rename"), testing::KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_compatibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(WorkerCompatibilityTest, RequiresTheFirstWorkersArithmeticAndData) {
  WorkerCompatibility compatibility;
  EXPECT_OK(compatibility.Check({"first", "fma-2"}));
  EXPECT_OK(compatibility.Check({"second", "fma-2", "aaaa"}));
  EXPECT_THAT(compatibility.Check({"third", "mul-add-2", "aaaa"}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("worker third"), HasSubstr("expected arithmetic fma-2"),
                             HasSubstr("got mul-add-2"), HasSubstr("--isa"))));
  EXPECT_THAT(compatibility.Check({"fourth", "fma-2", "bbbb"}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("data aaaa"), HasSubstr("data bbbb"), HasSubstr("--data"))));
  EXPECT_OK(compatibility.Check({"fifth", "fma-2"}));  // names no data
  EXPECT_EQ(compatibility.arithmetic(), "fma-2");
  EXPECT_EQ(compatibility.data(), "aaaa");
}

TEST(WorkerCompatibilityTest, RestoredTrainingReplacesBoth) {
  WorkerCompatibility compatibility;
  EXPECT_OK(compatibility.Check({"early", "fma-2", "aaaa"}));
  compatibility.Restore("", "");
  EXPECT_EQ(compatibility.arithmetic(), "fma-2");
  compatibility.Restore("double", "bbbb");
  EXPECT_THAT(compatibility.Check({"early", "fma-2", "aaaa"}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_OK(compatibility.Check({"late", "double", "bbbb"}));
}

TEST(WorkerCompatibilityTest, RefusedTextIsNotRemembered) {
  WorkerCompatibility compatibility;
  EXPECT_THAT(compatibility.Check({"w", "a\nb", "d"}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(compatibility.arithmetic(), "");
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_compatibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(WorkerCompatibilityTest, RequiresTheFirstWorkersArithmeticAndData) {
  WorkerCompatibility compatibility;
  EXPECT_OK(compatibility.Check({"first", "fma-2"}));
  EXPECT_OK(compatibility.Check({"second", "fma-2", "aaaa"}));
  EXPECT_THAT(compatibility.Check({"third", "mul-add-2", "aaaa"}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("worker third"), HasSubstr("expected arithmetic fma-2"),
                             HasSubstr("got mul-add-2"), HasSubstr("--isa"),
                             HasSubstr("any_arithmetic in the job"))));
  EXPECT_THAT(compatibility.Check({"silent", ""}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("got none")));
  EXPECT_THAT(compatibility.other_arithmetic(), IsEmpty());
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
  compatibility.Restore("", {}, "");
  EXPECT_EQ(compatibility.arithmetic(), "fma-2");
  compatibility.Restore("double", {}, "bbbb");
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

TEST(WorkerCompatibilityTest, ArithmeticIsShortAndPrintableAscii) {
  WorkerCompatibility compatibility;
  EXPECT_THAT(compatibility.Check({"w", std::string(kMaxArithmeticBytes + 1, 'x')}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("arithmetic: expected at most 256 bytes, got 257")));
  EXPECT_THAT(compatibility.Check({"w", "größer"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("arithmetic: expected printable ASCII")));
  EXPECT_OK(compatibility.Check({"w", std::string(kMaxArithmeticBytes, 'x')}));
}

TEST(WorkerCompatibilityTest, AnyArithmeticIsRemembered) {
  WorkerCompatibility compatibility(/*any_arithmetic=*/true);
  EXPECT_OK(compatibility.Check({"first", "a", "aaaa"}));
  EXPECT_OK(compatibility.Check({"second", "b", "aaaa"}));
  EXPECT_OK(compatibility.Check({"third", "a", "aaaa"}));
  EXPECT_OK(compatibility.Check({"fourth", "b", "aaaa"}));
  EXPECT_OK(compatibility.Check({"fifth", "", "aaaa"}));
  EXPECT_THAT(compatibility.Check({"sixth", "c", "bbbb"}),  // still one data set
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("data bbbb")));
  EXPECT_EQ(compatibility.arithmetic(), "a");
  EXPECT_THAT(compatibility.other_arithmetic(), ElementsAre("b"));
  for (int i = 0; i < 100; ++i) EXPECT_OK(compatibility.Check({"w", absl::StrCat("x", i)}));
  EXPECT_THAT(compatibility.other_arithmetic(), SizeIs(WorkerCompatibility::kMaxOthers));
}

TEST(WorkerCompatibilityTest, RestoredArithmeticIsRememberedWithThePresentOnes) {
  WorkerCompatibility compatibility(/*any_arithmetic=*/true);
  EXPECT_OK(compatibility.Check({"early", "a"}));
  EXPECT_OK(compatibility.Check({"early", "b"}));
  compatibility.Restore("b", {"c", "a"}, "");
  EXPECT_EQ(compatibility.arithmetic(), "b");
  EXPECT_THAT(compatibility.other_arithmetic(), ElementsAre("c", "a"));
  EXPECT_OK(compatibility.Check({"late", "d"}));
  compatibility.Restore("", {}, "");
  EXPECT_THAT(compatibility.other_arithmetic(), ElementsAre("c", "a", "d"));
}

}  // namespace
}  // namespace percentdelta

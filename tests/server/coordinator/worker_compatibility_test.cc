// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_compatibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(WorkerCompatibilityTest, RequiresTheArithmeticAndDataThatDelivered) {
  WorkerCompatibility compatibility;
  compatibility.Give({"first", "fma-2"});
  EXPECT_EQ(compatibility.arithmetic(), "fma-2");
  EXPECT_OK(compatibility.Check({"third", "mul-add-2"}));
  EXPECT_TRUE(compatibility.Deliver({{"first", "fma-2"}}));
  compatibility.Give({"second", "fma-2", "aaaa"});
  EXPECT_TRUE(compatibility.Deliver({{"first", "fma-2"}, {"second", "fma-2", "aaaa"}}));
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

// What most of the first step's workers say counts, if workers of other kinds may have pushed, too.
TEST(WorkerCompatibilityTest, FirstStepOfSeveralKindsIsDoneAgain) {
  const WorkerIdentity a = {"a", "fma-2", "aaaa"};
  const WorkerIdentity b = {"b", "mul-add-2", "aaaa"};
  const WorkerIdentity other_data = {"c", "fma-2", "bbbb"};
  const WorkerIdentity silent = {"d", "fma-2"};
  const struct {
    std::vector<WorkerIdentity> given;
    std::vector<WorkerIdentity> delivered;
    bool alike;
    std::string arithmetic;
    std::string data;
  } rows[] = {
      {{a}, {a, a}, true, "fma-2", "aaaa"},
      {{silent, a}, {silent, a}, true, "fma-2", "aaaa"},
      {{silent}, {silent}, true, "fma-2", ""},
      {{b, a}, {a, a}, false, "fma-2", "aaaa"},
      {{a, b}, {a, b, b}, false, "mul-add-2", "aaaa"},
      {{a, b}, {b, a}, false, "mul-add-2", "aaaa"},
      {{a, other_data}, {a, silent}, false, "fma-2", "aaaa"},
  };
  for (const auto& row : rows) {
    WorkerCompatibility compatibility;
    for (const WorkerIdentity& worker : row.given) compatibility.Give(worker);
    EXPECT_EQ(compatibility.Deliver(row.delivered), row.alike);
    EXPECT_EQ(compatibility.arithmetic(), row.arithmetic);
    EXPECT_EQ(compatibility.data(), row.data);
    EXPECT_TRUE(compatibility.Deliver(row.delivered));  // once
  }
}

TEST(WorkerCompatibilityTest, RemembersNoMoreThanItNeeds) {
  WorkerCompatibility compatibility;
  for (int i = 0; i < 10'000; ++i) compatibility.Give({"w", absl::StrCat("x", i)});
  EXPECT_FALSE(compatibility.Deliver({{"w", "x0"}}));
  EXPECT_EQ(compatibility.arithmetic(), "x0");
}

TEST(WorkerCompatibilityTest, RestoredTrainingReplacesBoth) {
  WorkerCompatibility compatibility;
  EXPECT_TRUE(compatibility.Deliver({{"early", "fma-2", "aaaa"}}));
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
  compatibility.Give({"first", "a", "aaaa"});
  compatibility.Give({"second", "b", "aaaa"});
  compatibility.Give({"third", "a", "aaaa"});
  compatibility.Give({"fourth", "b", "aaaa"});
  compatibility.Give({"fifth", "", "aaaa"});
  EXPECT_TRUE(compatibility.Deliver({{"second", "b", "aaaa"}}));
  EXPECT_OK(compatibility.Check({"seventh", "c", "aaaa"}));
  EXPECT_THAT(compatibility.Check({"sixth", "c", "bbbb"}),  // still one data set
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("data bbbb")));
  EXPECT_EQ(compatibility.arithmetic(), "a");
  EXPECT_THAT(compatibility.other_arithmetic(), ElementsAre("b"));
  for (int i = 0; i < 100; ++i) compatibility.Give({"w", absl::StrCat("x", i)});
  EXPECT_THAT(compatibility.other_arithmetic(), SizeIs(WorkerCompatibility::kMaxOthers));
}

TEST(WorkerCompatibilityTest, RestoredArithmeticIsRememberedWithThePresentOnes) {
  WorkerCompatibility compatibility(/*any_arithmetic=*/true);
  compatibility.Give({"early", "a"});
  compatibility.Give({"early", "b"});
  compatibility.Restore("b", {"c", "a"}, "");
  EXPECT_EQ(compatibility.arithmetic(), "b");
  EXPECT_THAT(compatibility.other_arithmetic(), ElementsAre("c", "a"));
  compatibility.Give({"late", "d"});
  compatibility.Restore("", {}, "");
  EXPECT_THAT(compatibility.other_arithmetic(), ElementsAre("c", "a", "d"));
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/status_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(StatusFormatTest, TableHasTheLastMetrics) {
  Progress progress;
  progress.training = {{1, 2, 0, 0, {{"old", 1}}}, {2, 1, 0, 1, {{"error", 0.25}, {"b", 1e9}}}};
  EXPECT_THAT(StatusTable(progress),
              AllOf(HasSubstr("metrics        error 0.25, b 1e+09 at step 2\n"),
                    Not(HasSubstr("old")), Not(HasSubstr("test metrics")),
                    Not(HasSubstr("reproducible"))));
  progress.evaluations = {{2, 1, 0.5, 1, {{"error", 0.5}}}};
  EXPECT_THAT(StatusTable(progress), HasSubstr("test metrics   error 0.5 at step 2\n"));
}

TEST(StatusFormatTest, JsonHasTheLastMetrics) {
  Progress progress;
  progress.training = {{1, 2, 0, 0}};
  auto json = nlohmann::json::parse(StatusJson(progress));
  EXPECT_EQ(json["last_training"]["metrics"], nlohmann::json::object());
  EXPECT_TRUE(json["last_evaluation"].is_null());
  progress.evaluations = {{2, 1, 0.5, 1, {{"error", 0.5}}}};
  json = nlohmann::json::parse(StatusJson(progress));
  EXPECT_EQ(json["last_evaluation"]["metrics"]["error"], 0.5);
}

// From a server that is not ours: each row stays a line, and JSON stays JSON.
TEST(StatusFormatTest, NamesFromElsewhereAreEscaped) {
  Progress progress;
  progress.any_arithmetic = true;
  progress.arithmetic = "a\nb";
  progress.other_arithmetic = {"c\x1b[2J"};
  progress.training = {{1, 2, 0, 0, {{"x\ny\xff", 1}}}};
  EXPECT_THAT(StatusTable(progress),
              AllOf(HasSubstr("arithmetic a\\nb and c\\x1b[2J\n"), HasSubstr("x\\ny\\xff 1 at"),
                    HasSubstr("reproducible   no, any_arithmetic: ")));
  const auto json = nlohmann::json::parse(StatusJson(progress));
  EXPECT_EQ(json["other_arithmetic"].size(), 1U);
}

}  // namespace
}  // namespace percentdelta

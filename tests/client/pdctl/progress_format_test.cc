// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/progress_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// Two steps, and an evaluation of the second and of the weights after it.
Progress SomeProgress() {
  Progress progress;
  progress.training = {{0, 2, 0.5, 0, {{"error", 0.1}}},
                       {1, 1, 0.5, 0.25, {{"error", -3}, {"a,b", 1e100}}}};
  progress.evaluations = {{1, 0.75, 0.5, 0.5, {}}, {2, 0.25, 0.9375, 9, {{"error", 0.0625}}}};
  return progress;
}

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

TEST(ProgressFormatTest, CsvHasARowForEachStepAndAColumnForEachMetric) {
  EXPECT_THAT(Lines(ProgressCsv(SomeProgress())),
              ElementsAre("step,loss,accuracy,test_loss,test_accuracy,seconds,metrics.error,"
                          "\"metrics.a,b\",test_metrics.error",
                          "0,2,0.5,,,0,0.1,,", "1,1,0.5,0.75,0.5,0.25,-3,1e+100,",
                          "2,,,0.25,0.9375,9,,,0.0625"));
}

TEST(ProgressFormatTest, WithoutMetricsThereAreNoColumns) {
  Progress progress;
  progress.training = {{0, 2, 0.5, 0}};
  EXPECT_EQ(ProgressCsv(progress),
            "step,loss,accuracy,test_loss,test_accuracy,seconds\n0,2,0.5,,,0\n");
}

TEST(ProgressFormatTest, TableIsAligned) {
  const std::vector<std::string> lines = Lines(ProgressTable(SomeProgress()));
  ASSERT_THAT(lines, SizeIs(4));
  for (const std::string& line : lines) EXPECT_THAT(line, SizeIs(lines[0].size()));
  const auto words = [](const std::string& line) {
    return std::vector<std::string>(absl::StrSplit(line, ' ', absl::SkipEmpty()));
  };
  EXPECT_THAT(words(lines[0]), ElementsAre("step", "loss", "accuracy", "test", "loss", "test",
                                           "accuracy", "seconds", "error", "a,b", "test", "error"));
  EXPECT_THAT(words(lines[1]), ElementsAre("0", "2", "0.5", "0.0", "0.1"));
  EXPECT_THAT(words(lines[3]), ElementsAre("2", "0.25", "0.9375", "9.0", "0.0625"));
}

TEST(ProgressFormatTest, JsonHasBothCurves) {
  Progress progress = SomeProgress();
  progress.training[0].metrics[0].value = std::numeric_limits<double>::quiet_NaN();
  const auto json = nlohmann::json::parse(ProgressJson(progress));
  ASSERT_THAT(json["training"], SizeIs(2));
  EXPECT_TRUE(json["training"][0]["metrics"]["error"].is_null());
  EXPECT_EQ(json["training"][1]["metrics"]["a,b"], 1e100);
  EXPECT_EQ(json["evaluations"][1]["accuracy"], 0.9375);
  EXPECT_EQ(json["evaluations"][0]["metrics"], nlohmann::json::object());
}

TEST(ProgressFormatTest, KeepsTheLastSteps) {
  const auto kept = [](int64_t steps) {
    Progress progress = SomeProgress();
    KeepLastSteps(steps, progress);
    return std::pair(progress.training.size(), progress.evaluations.size());
  };
  EXPECT_EQ(kept(1), std::pair(size_t{0}, size_t{1}));
  EXPECT_EQ(kept(2), std::pair(size_t{1}, size_t{2}));
  EXPECT_EQ(kept(3), std::pair(size_t{2}, size_t{2}));
  EXPECT_EQ(kept(1000), std::pair(size_t{2}, size_t{2}));
  Progress nothing;
  KeepLastSteps(1, nothing);
  EXPECT_EQ(ProgressJson(nothing), "{\n  \"training\": [],\n  \"evaluations\": []\n}\n");
}

}  // namespace
}  // namespace percentdelta

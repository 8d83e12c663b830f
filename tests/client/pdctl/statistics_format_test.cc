// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/statistics_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <clocale>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TensorStatistics Update(int64_t step, const std::string& layer, const std::string& name) {
  TensorStatistics update;
  update.step = step;
  update.tensor = layer + "/" + name;
  update.layer = layer;
  update.entries = 800;
  update.gradient_l1 = 345.65725536432;
  update.gradient_l2 = 16.7407310595302;
  update.weight_l1 = 0.1 + 0.2;  // a neighbour of 0.3
  update.weight_l2 = 1e-300;
  update.rate = 0.03;
  update.multiplier = 1.0 / 3;
  update.relative_delta = 0.03125;
  update.sgd_relative_delta = 0.5;
  return update;
}

std::vector<StepStatistics> TwoSteps() {
  return {{7, {Update(7, "conv1", "weights"), Update(7, "conv1", "biases")}},
          {8, {Update(8, "conv1", "weights"), Update(8, "conv1", "biases")}}};
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_EQ(lines.back(), "") << "no newline at the end";
  lines.pop_back();
  return lines;
}

double ReadBack(absl::string_view text) {
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  EXPECT_EQ(result.ptr, text.data() + text.size()) << text;
  return value;
}

TEST(FormatTableTest, ShowsPercentAndNorms) {
  EXPECT_EQ(
      FormatTable({TwoSteps().front()}),
      "   step  tensor             rel. delta    plain SGD   multiplier      ||g||1      ||W||1\n"
      "      7  conv1/weights         3.125 %         50 %       0.3333       345.7         0.3\n"
      "      7  conv1/biases          3.125 %         50 %       0.3333       345.7         0.3\n");
}

TEST(FormatTableTest, StaysAlignedWhateverTheNames) {
  std::vector<StepStatistics> steps = TwoSteps();
  steps[1].updates[0].tensor = "a/very/long/name/of/a/tensor/indeed";
  steps[1].updates[1].gradient_l1 = 123456789;
  steps[1].updates[1].multiplier = 1e-12;
  const std::vector<std::string> lines = Lines(FormatTable(steps));
  ASSERT_EQ(lines.size(), 5U);
  for (const std::string& line : lines) {
    EXPECT_EQ(line.size(), lines.front().size()) << line;
    EXPECT_EQ(std::count(line.begin(), line.end(), '\t'), 0);
  }
}

TEST(FormatTableTest, HeadingsCanBeOmitted) {
  EXPECT_EQ(Lines(FormatTable(TwoSteps(), false)).size(), 4U);
  EXPECT_EQ(Lines(FormatTable({})).size(), 1U);
  EXPECT_EQ(FormatTable({}, false), "");
}

TEST(FormatJsonTest, HoldsEveryFieldExactly) {
  const auto json = nlohmann::json::parse(FormatJson(TwoSteps()));
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[1]["step"], 8);
  ASSERT_EQ(json[1]["updates"].size(), 2U);
  const auto& update = json[1]["updates"][1];
  const TensorStatistics expected = TwoSteps()[1].updates[1];
  EXPECT_EQ(update["tensor"], "conv1/biases");
  EXPECT_EQ(update["layer"], "conv1");
  EXPECT_EQ(update["entries"], 800);
  EXPECT_EQ(update["gradient_l1"].get<double>(), expected.gradient_l1);
  EXPECT_EQ(update["gradient_l2"].get<double>(), expected.gradient_l2);
  EXPECT_EQ(update["weight_l1"].get<double>(), expected.weight_l1);
  EXPECT_EQ(update["weight_l2"].get<double>(), expected.weight_l2);
  EXPECT_EQ(update["rate"].get<double>(), expected.rate);
  EXPECT_EQ(update["multiplier"].get<double>(), expected.multiplier);
  EXPECT_EQ(update["relative_delta"].get<double>(), expected.relative_delta);
  EXPECT_EQ(update["sgd_relative_delta"].get<double>(), expected.sgd_relative_delta);
  EXPECT_EQ(FormatJson({}), "[]\n");
}

TEST(FormatJsonTest, AStreamIsOneObjectPerLine) {
  const std::string line = FormatJsonLine(TwoSteps()[0]);
  EXPECT_EQ(Lines(line).size(), 1U);
  EXPECT_EQ(nlohmann::json::parse(line), nlohmann::json::parse(FormatJson(TwoSteps()))[0]);
}

TEST(FormatJsonTest, InvalidTextAndNonFiniteNumbersDoNotThrow) {
  StepStatistics step = TwoSteps()[0];
  step.updates[0].tensor = "broken \xff";
  step.updates[0].multiplier = std::numeric_limits<double>::quiet_NaN();
  step.updates[0].rate = std::numeric_limits<double>::infinity();
  const auto json = nlohmann::json::parse(FormatJsonLine(step));
  EXPECT_EQ(json["updates"][0]["tensor"], "broken \xef\xbf\xbd");
  EXPECT_TRUE(json["updates"][0]["multiplier"].is_null());
}

TEST(FormatCsvTest, RowsHoldEveryFieldExactly) {
  const std::vector<std::string> lines = Lines(FormatCsv(TwoSteps()));
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_EQ(lines[0],
            "step,tensor,layer,entries,gradient_l1,gradient_l2,weight_l1,weight_l2,rate,multiplier,"
            "relative_delta,sgd_relative_delta");
  const std::vector<std::string> fields = absl::StrSplit(lines[4], ',');
  ASSERT_EQ(fields.size(), 12U);
  const TensorStatistics expected = TwoSteps()[1].updates[1];
  EXPECT_EQ(fields[0], "8");
  EXPECT_EQ(fields[1], "conv1/biases");
  EXPECT_EQ(fields[2], "conv1");
  EXPECT_EQ(fields[3], "800");
  EXPECT_EQ(ReadBack(fields[4]), expected.gradient_l1);
  EXPECT_EQ(ReadBack(fields[5]), expected.gradient_l2);
  EXPECT_EQ(ReadBack(fields[6]), expected.weight_l1);
  EXPECT_EQ(ReadBack(fields[7]), expected.weight_l2);
  EXPECT_EQ(ReadBack(fields[8]), expected.rate);
  EXPECT_EQ(ReadBack(fields[9]), expected.multiplier);
  EXPECT_EQ(ReadBack(fields[10]), expected.relative_delta);
  EXPECT_EQ(ReadBack(fields[11]), expected.sgd_relative_delta);
}

TEST(FormatCsvTest, RowsAlone) {
  EXPECT_THAT(FormatCsv(TwoSteps(), false), StartsWith("7,conv1/weights,"));
  EXPECT_EQ(FormatCsv({}, false), "");
}

TEST(FormatCsvTest, NamesWithCommasAreQuoted) {
  StepStatistics step = TwoSteps()[0];
  step.updates[0].tensor = "a,b/\"c\"";
  EXPECT_THAT(FormatCsv({step}), HasSubstr("7,\"a,b/\"\"c\"\"\",conv1,800,"));
}

// A server may send any names.
TEST(FormatTest, NamesCannotForgeRowsOrReachTheTerminal) {
  for (const std::string& name :
       {std::string("a\nb"), std::string("a\r\nb"), std::string("\x1b[31m"),
        std::string("\xc2\x9b"), std::string("nul\0x", 5), std::string("\xff")}) {
    const std::vector<StepStatistics> steps = {{7, {Update(7, name, name)}}};
    for (const std::string& text : {FormatTable(steps), FormatCsv(steps)}) {
      EXPECT_EQ(Lines(text).size(), 2U) << text;
      EXPECT_EQ(text.find_first_of(std::string("\x1b\r\0\xc2\xff", 5)), std::string::npos) << text;
    }
  }
}

// In locales whose decimal separator is a comma; a machine may lack them.
TEST(FormatTest, LocaleDoesNotMatter) {
  const std::vector<StepStatistics> steps = TwoSteps();
  const std::vector<std::string> before = {FormatTable(steps), FormatJson(steps), FormatCsv(steps)};
  const std::string old = std::setlocale(LC_ALL, nullptr);
  for (const char* locale : {"de_DE.UTF-8", "fr_FR.UTF-8"}) {
    if (std::setlocale(LC_ALL, locale) == nullptr) continue;
    EXPECT_THAT((std::vector<std::string>{FormatTable(steps), FormatJson(steps), FormatCsv(steps)}),
                ::testing::ElementsAreArray(before));
  }
  std::setlocale(LC_ALL, old.c_str());
}

TEST(ShortestDecimalTest, ReadsBackExactly) {
  for (const double value : {0.0, 0.1, 1.0 / 3, 1e300, 5e-324, -2.5, 123456789012345678.0}) {
    EXPECT_EQ(ReadBack(ShortestDecimal(value)), value);
  }
  EXPECT_EQ(ShortestDecimal(0.1), "0.1");
  EXPECT_EQ(ShortestDecimal(-1.7976931348623157e308), "-1.7976931348623157e+308");
}

}  // namespace
}  // namespace percentdelta

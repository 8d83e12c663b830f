// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "client/pdctl/progress_format.h"
#include "client/pdctl/statistics_format.h"
#include "common/job/job_codec.h"
#include "nlohmann/json.hpp"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

ReportData SomeData(int64_t steps) {
  ReportData data;
  data.job = SmallMnistJob(steps);
  data.progress.state = TrainingState::kFinished;
  data.progress.step = steps;
  data.progress.max_steps = steps;
  data.progress.shard_count = 2;
  for (int64_t step = 0; step < steps; ++step) {
    data.progress.training.push_back({step, 2.0 / (1 + step), 0.5, 0.25 * step});
    StepStatistics& statistics = data.statistics.emplace_back();
    statistics.step = step;
    for (const TensorSpec& tensor : data.job.model.tensors) {
      TensorStatistics update;
      update.step = step;
      update.tensor = tensor.name;
      update.layer = std::string(tensor.layer());
      update.entries = tensor.size();
      update.relative_delta = 0.03;
      update.sgd_relative_delta = 0.001 * (1 + step);
      statistics.updates.push_back(update);
    }
  }
  data.progress.evaluations.push_back({steps, 0.25, 0.9375, 9});
  data.weights_sha256 = std::string(64, 'a');
  data.command = "pd-local --steps=3";
  return data;
}

// Returns the data embedded in the page.
nlohmann::json PageData(const std::string& html) {
  const std::string mark = "const data = ";
  const size_t begin = html.find(mark) + mark.size();
  return nlohmann::json::parse(html.substr(begin, html.find(";\n", begin) - begin));
}

TEST(ReportTest, ThePageHasACurveForEachMetric) {
  ReportData data = SomeData(3);
  EXPECT_THAT(PageData(ReportHtml(data))["metrics"], SizeIs(0));
  data.progress.training[1].metrics = {{"</script>", 1.5}};
  data.progress.training[2].metrics = {{"</script>", 0.5}, {"b", 2}};
  data.progress.evaluations[0].metrics = {{"c", 7}, {"b", 3}};
  const nlohmann::json metrics = PageData(ReportHtml(data))["metrics"];
  ASSERT_THAT(metrics, SizeIs(3));
  EXPECT_EQ(metrics[0]["name"], "</script>");
  EXPECT_EQ(metrics[0]["training"], nlohmann::json({{1, 1.5}, {2, 0.5}}));
  EXPECT_THAT(metrics[0]["evaluations"], SizeIs(0));
  EXPECT_EQ(metrics[1]["training"], nlohmann::json::array({{2, 2}}));
  EXPECT_EQ(metrics[1]["evaluations"], nlohmann::json::array({{3, 3}}));
  EXPECT_EQ(metrics[2]["name"], "c");
}

TEST(ReportTest, ThePageSaysWhereTheBitsAreNotPromised) {
  ReportData data = SomeData(3);
  EXPECT_EQ(PageData(ReportHtml(data))["any_arithmetic"], "");
  data.job.any_arithmetic = true;
  EXPECT_EQ(PageData(ReportHtml(data))["any_arithmetic"], kAnyArithmeticNote);
}

TEST(ReportTest, ThePageHasThePapersFigure) {
  const std::string html = ReportHtml(SomeData(50));
  const nlohmann::json data = PageData(html);
  ASSERT_THAT(data["figure"], SizeIs(4));
  EXPECT_EQ(data["figure"][1]["step"], 15);
  ASSERT_THAT(data["figure"][1]["bars"], SizeIs(4));  // weights, not biases
  EXPECT_EQ(data["figure"][1]["bars"][0]["layer"], "conv1");
  EXPECT_EQ(data["figure"][1]["bars"][0]["relative"], 0.03);
  EXPECT_EQ(data["figure"][1]["bars"][0]["sgd"], 0.016);
  EXPECT_EQ(data["evaluations"][0][2], 0.9375);
  EXPECT_EQ(data["sha256"], std::string(64, 'a'));
  EXPECT_THAT(data["last"], SizeIs(8));
  // Self-contained.
  for (const char* outside : {"http://", "https://", "<link", "src="}) {
    std::string page = html;
    const std::string svg = "http://www.w3.org/2000/svg";
    while (page.find(svg) != std::string::npos) page.erase(page.find(svg), svg.size());
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
}

TEST(ReportTest, TheHeadingNamesTheRule) {
  const std::vector<std::pair<UpdateRule, std::string>> rules = {
      {PercentDeltaRule{1e-4}, "PercentDelta"},
      {SgdRule{}, "SGD"},
      {AdaGradRule{0.1, 1e-8}, "AdaGrad"},
      {AdamRule{}, "Adam"},
      {LarsRule{}, "LARS"},
      {LambRule{}, "LAMB"}};
  ASSERT_EQ(rules.size(), std::variant_size_v<UpdateRule>);
  for (size_t i = 0; i < rules.size(); ++i) {
    ASSERT_EQ(rules[i].first.index(), i);
    ReportData data = SomeData(3);
    data.job.optimizer.rule = rules[i].first;
    EXPECT_EQ(PageData(ReportHtml(data))["rule"], rules[i].second);
  }
}

TEST(ReportTest, LongTrainingsAreSampled) {
  const nlohmann::json data = PageData(ReportHtml(SomeData(5000)));
  EXPECT_THAT(data["training"], SizeIs(600));
  EXPECT_EQ(data["training"][0][0], 0);
  EXPECT_EQ(data["training"][599][0], 4999);
}

TEST(ReportTest, NothingBreaksThePage) {
  ReportData data = SomeData(3);
  data.job.name = "</script><b>\xff";
  data.command = "pd-local '</script>'";
  data.progress.training[1].loss = std::numeric_limits<double>::quiet_NaN();
  data.statistics[2].updates[0].multiplier = std::numeric_limits<double>::infinity();
  const std::string html = ReportHtml(data);
  EXPECT_EQ(html.find("</script"), html.rfind("</script"));
  EXPECT_TRUE(PageData(html)["training"][1][1].is_null());

  data.progress = {};
  data.statistics.clear();
  EXPECT_THAT(PageData(ReportHtml(data))["figure"], SizeIs(0));
}

TEST(ReportTest, WritesThreeFiles) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/a/b";
  const ReportData data = SomeData(3);
  ASSERT_OK(WriteReport(path, data));
  EXPECT_EQ(ReadFile(path + "/progress.csv"), ProgressCsv(data.progress));
  EXPECT_EQ(ReadFile(path + "/statistics.csv"), FormatCsv(data.statistics));
  EXPECT_EQ(ReadFile(path + "/report.html"), ReportHtml(data));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path), {}), 3);
}

TEST(ReportTest, ErrorsNameTheFile) {
  const TemporaryDirectory directory;
  const std::string file = directory.path() + "/file";
  WriteFile(file, "");
  EXPECT_THAT(WriteReport(file, SomeData(1)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr(file)));
  // A directory has the name of the file.
  std::filesystem::create_directories(directory.path() + "/r/report.html/x");
  EXPECT_THAT(std::string(WriteReport(directory.path() + "/r", SomeData(1)).message()),
              HasSubstr("r/report.html: "));
}

}  // namespace
}  // namespace percentdelta

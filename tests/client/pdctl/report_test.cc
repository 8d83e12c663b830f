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
  const std::string mark = "id=\"data\">";
  const size_t begin = html.find(mark) + mark.size();
  return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
}

TEST(ReportTest, ThePageHasACurveForEachMetric) {
  ReportData data = SomeData(3);
  data.progress.training[1].metrics = {{"</script>", 1.5}};
  data.progress.training[2].metrics = {{"</script>", 0.5}, {"b", 2}};
  data.progress.evaluations[0].metrics = {{"c", 7}};
  const nlohmann::json charts = PageData(ReportHtml(data))["charts"];
  EXPECT_EQ(charts["training"]["names"],
            nlohmann::json({"loss", "accuracy", "seconds", "</script>", "b"}));
  EXPECT_EQ(charts["training"]["rows"][2][5], 0.5);
  EXPECT_EQ(charts["evaluations"]["names"][3], "c");
  EXPECT_EQ(charts["evaluations"]["rows"][0][5], 7);
}

TEST(ReportTest, ThePageSaysWhereTheBitsAreNotPromised) {
  ReportData data = SomeData(3);
  EXPECT_EQ(PageData(ReportHtml(data))["job"]["any_arithmetic"], "");
  data.job.any_arithmetic = true;
  EXPECT_EQ(PageData(ReportHtml(data))["job"]["any_arithmetic"], kAnyArithmeticNote);
}

TEST(ReportTest, ThePageHasThePapersFigure) {
  const std::string html = ReportHtml(SomeData(50));
  const nlohmann::json data = PageData(html);
  ASSERT_THAT(data["steps"], SizeIs(5));  // 0, 15, 30, 45 and the last one
  EXPECT_EQ(data["steps"][1]["step"], 15);
  EXPECT_EQ(data["steps"][4]["step"], 49);
  ASSERT_THAT(data["steps"][1]["updates"], SizeIs(8));
  EXPECT_EQ(data["steps"][1]["updates"][0]["tensor"], "conv1/weights");
  EXPECT_EQ(data["steps"][1]["updates"][0]["relative_delta"], 0.03);
  EXPECT_EQ(data["steps"][1]["updates"][0]["sgd_relative_delta"], 0.016);
  EXPECT_EQ(data["steps"][1]["training"]["loss"], 0.125);
  EXPECT_EQ(data["charts"]["evaluations"]["rows"][0][3], 0.9375);
  EXPECT_EQ(data["report"]["sha256"], std::string(64, 'a'));
  EXPECT_EQ(data["report"]["command"], "pd-local --steps=3");
  EXPECT_TRUE(data["activity"].is_null());
  // Self-contained.
  for (const char* outside : {"<link", " src=", "@import"})
    EXPECT_THAT(html, Not(HasSubstr(outside)));
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
    EXPECT_EQ(PageData(ReportHtml(data))["job"]["rule"], rules[i].second);
  }
}

TEST(ReportTest, LongTrainingsAreSampled) {
  const nlohmann::json data = PageData(ReportHtml(SomeData(5000)));
  const nlohmann::json& rows = data["charts"]["training"]["rows"];
  EXPECT_THAT(rows, SizeIs(625));  // of eight steps each
  EXPECT_EQ(rows.front()[0], 0);
  EXPECT_EQ(rows.back()[1], 4999);
}

TEST(ReportTest, NothingBreaksThePage) {
  ReportData data = SomeData(3);
  data.job.name = "</script><b>\xff";
  data.command = "pd-local '</script>'";
  data.progress.training[1].loss = std::numeric_limits<double>::quiet_NaN();
  data.statistics[2].updates[0].multiplier = std::numeric_limits<double>::infinity();
  const std::string html = ReportHtml(data);
  EXPECT_EQ(PageData(html)["report"]["command"], data.command);
  EXPECT_TRUE(PageData(html)["charts"]["training"]["rows"][1][2].is_null());
  EXPECT_TRUE(PageData(html)["steps"][1]["updates"][0]["multiplier"].is_null());

  data.progress = {};
  data.statistics.clear();
  EXPECT_THAT(PageData(ReportHtml(data))["steps"], SizeIs(0));
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

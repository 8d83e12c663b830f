// SPDX-License-Identifier: Apache-2.0

#include "common/page/page_charts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/page/page_json.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::SizeIs;

// A weight matrix and biases a layer, and a buffer at the end.
Job JobWithLayers(int layers) {
  Job job;
  job.name = "a </script> job";
  job.max_steps = 100000;
  job.batch_size = 8;
  for (int i = 0; i < layers; ++i) {
    TensorSpec weights;
    weights.name = absl::StrCat("layer", i, "/weights");
    weights.shape = {4, 3};
    TensorSpec biases;
    biases.name = absl::StrCat("layer", i, "/biases");
    biases.shape = {3};
    job.model.tensors.push_back(weights);
    job.model.tensors.push_back(biases);
  }
  TensorSpec buffer;
  buffer.name = "norm/mean";
  buffer.shape = {3};
  buffer.buffer = true;
  job.model.tensors.push_back(buffer);
  return job;
}

StepStatistics StatisticsOf(const Job& job, int64_t step) {
  StepStatistics statistics;
  statistics.step = step;
  for (const TensorSpec& tensor : job.model.tensors) {
    if (tensor.buffer) continue;
    TensorStatistics update;
    update.step = step;
    update.tensor = tensor.name;
    update.relative_delta = 0.03 + 1e-7 * static_cast<double>(step * 7919 % 100003);
    update.sgd_relative_delta = 1e-4 * static_cast<double>(1 + step * 31 % 101);
    update.multiplier = 123.456 + static_cast<double>(step % 17);
    statistics.updates.push_back(update);
  }
  return statistics;
}

TEST(PageChartsTest, ALongTrainingOfManyTensorsStaysBelowAMegabyte) {
  const Job job = JobWithLayers(30);
  PageCharts charts(job);
  for (int64_t step = 0; step < 100000; ++step) {
    charts.AddTraining({step, 2.0 / (1.0 + static_cast<double>(step)), 0.5, 0.25 * step});
    if (step % 100 == 0) charts.AddEvaluation({step, 0.25, 0.75, 0.25 * step});
    // The values of a step differ from those of the next: the worst case.
    if (step % 10 == 0 || step > 99000) charts.AddUpdates(StatisticsOf(job, step));
  }
  const std::string text = charts.Json();
  EXPECT_LT(text.size(), 800000U);
  EXPECT_GT(text.size(), 200000U);
  const json parsed = json::parse(text);
  EXPECT_THAT(parsed["updates"]["rows"].back(), SizeIs(2 + 3 * 60));
  EXPECT_EQ(parsed["training"]["rows"].back()[1], 99999);
}

TEST(PageChartsTest, ChangesMakeTheWhole) {
  const Job job = JobWithLayers(1);
  PageCharts charts(job);
  json shown = json::parse(charts.Json());
  const auto merge = [&] {
    const std::string text = charts.TakeChanges();
    if (text.empty()) return;
    const json changes = json::parse(text);
    for (const char* name : {"training", "updates"}) {
      if (!changes.contains(name)) continue;
      const json& change = changes[name];
      json rows = json::array();
      for (const json& row : shown[name]["rows"]) {
        if (row[0] < change["after"]) rows.push_back(row);
      }
      for (const json& row : change["rows"]) rows.push_back(row);
      shown[name] = change;
      shown[name]["rows"] = rows;
    }
  };
  for (int64_t step = 0; step < 5000; ++step) {
    charts.AddTraining({step, 1.0 * step, 0.5, 0.25 * step});
    charts.AddUpdates(StatisticsOf(job, step));
    if (step % 77 == 0) merge();
    if (step == 3000) {
      charts.Truncate(2000);
      merge();
      EXPECT_LE(charts.next_training(), 2000);
      for (int64_t again = charts.next_training(); again <= step; ++again) {
        charts.AddTraining({again, 1.0 * again, 0.5, 0.25 * again});
      }
      for (int64_t again = charts.next_updates(); again <= step; ++again) {
        charts.AddUpdates(StatisticsOf(job, again));
      }
    }
  }
  merge();
  EXPECT_EQ(charts.TakeChanges(), "");
  const json whole = json::parse(charts.Json());
  EXPECT_EQ(shown["training"]["rows"], whole["training"]["rows"]);
  EXPECT_EQ(shown["updates"]["rows"], whole["updates"]["rows"]);
}

TEST(PageChartsTest, MetricsAreColumns) {
  const Job job = JobWithLayers(1);
  PageCharts charts(job);
  charts.AddTraining({0, 1, 0.5, 0.25, {{"b", 2}}});
  charts.AddTraining({1, 1, 0.5, 0.5, {{"a", 3}, {"b", 4}}});
  charts.AddTraining({2, 1, 0.5, 0.75});
  const json training = json::parse(charts.Json())["training"];
  EXPECT_EQ(training["names"], json({"loss", "accuracy", "seconds", "b", "a"}));
  EXPECT_EQ(training["rows"], json::parse("[[0,0,1,0.5,0.25,2],[1,1,1,0.5,0.5,4,3],"
                                          "[2,2,1,0.5,0.75,null,null]]"));
}

TEST(PageChartsTest, BuffersHaveNoLines) {
  const Job job = JobWithLayers(1);
  EXPECT_THAT(ChartedTensors(job.model), ElementsAre(0, 1));
  const json tensors = json::parse(JobJson(job))["tensors"];
  ASSERT_THAT(tensors, SizeIs(2));
  EXPECT_EQ(tensors[1]["name"], "layer0/biases");
  EXPECT_EQ(tensors[1]["matrix"], false);
  EXPECT_EQ(tensors[1]["line"], 1);
}

TEST(PageChartsTest, OfTooManyTensorsTheMatricesHaveLines) {
  const Job job = JobWithLayers(150);
  const std::vector<int> charted = ChartedTensors(job.model);
  ASSERT_THAT(charted, SizeIs(200));
  for (int i = 0; i < 150; ++i) EXPECT_THAT(charted, ::testing::Contains(2 * i));
  EXPECT_EQ(json::parse(JobJson(job))["tensors"].back()["line"], -1);
}

TEST(PageJsonTest, NothingEndsAScriptElement) {
  const Job job = JobWithLayers(1);
  EXPECT_EQ(JobJson(job).find('<'), std::string::npos);
  EXPECT_EQ(json::parse(JobJson(job))["name"], job.name);
  ClusterEvent event;
  event.text = "</script>\xff";
  EXPECT_EQ(EventJson(event, absl::UnixEpoch()).find('<'), std::string::npos);
}

TEST(PageJsonTest, AStepIsExact) {
  const Job job = JobWithLayers(1);
  const StepStatistics statistics = StatisticsOf(job, 3);
  const ProgressPoint point{3, 0.1 + 0.2, 0.7, 1};
  const json step = json::parse(StepJson(3, &statistics, &point, nullptr));
  EXPECT_EQ(step["updates"][0]["relative_delta"], statistics.updates[0].relative_delta);
  EXPECT_EQ(step["updates"][0]["tensor"], "layer0/weights");
  EXPECT_EQ(step["training"]["loss"], 0.1 + 0.2);
  EXPECT_TRUE(step["evaluation"].is_null());
}

TEST(PageJsonTest, WorkersThatNeedAttentionComeFirst) {
  ClusterActivity activity;
  for (int i = 0; i < 300; ++i) activity.workers.emplace_back().name = absl::StrCat(i);
  activity.workers[250].suspended = "it failed";
  activity.workers[251].lease = HeldLease{"251", Lease::Kind::kTrain, 7, 0, absl::Seconds(9), true};
  const json parsed = json::parse(ActivityJson(activity, 200, absl::Seconds(7)));
  ASSERT_THAT(parsed["workers"], SizeIs(200));
  EXPECT_EQ(parsed["workers"][0]["name"], "250");
  EXPECT_EQ(parsed["workers"][1]["lease"]["step"], 7);
  EXPECT_EQ(parsed["workers_not_listed"], 100);
  EXPECT_EQ(parsed["time"], 7);
  EXPECT_LT(ActivityJson(activity, 200, absl::Seconds(7)).size(), 40000U);  // a second
}

}  // namespace
}  // namespace percentdelta

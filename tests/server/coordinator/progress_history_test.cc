// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/progress_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kStart = absl::Hours(1);

Progress Filled(const ProgressHistory& history, absl::Duration now, int64_t from_step = 0) {
  Progress progress;
  history.Fill(from_step, std::numeric_limits<int64_t>::max(), now, progress);
  return progress;
}

std::vector<int64_t> Steps(const std::vector<ProgressPoint>& curve) {
  std::vector<int64_t> steps;
  steps.reserve(curve.size());
  for (const ProgressPoint& point : curve) steps.push_back(point.step);
  return steps;
}

TEST(ProgressHistoryTest, KnowsNothingAtFirst) {
  const Progress progress = Filled(ProgressHistory(10), kStart);
  EXPECT_THAT(progress.training, IsEmpty());
  EXPECT_THAT(progress.evaluations, IsEmpty());
  EXPECT_EQ(progress.examples_per_second, 0);
}

TEST(ProgressHistoryTest, GivesTheCurvesFromAStepOn) {
  ProgressHistory history(10);
  for (int64_t step = 0; step < 5; ++step) history.AddTraining({step, 1.5, 0.25, 7});
  for (int64_t step = 0; step < 5; step += 2) history.AddEvaluation({step, 2.5, 0.75, 8});
  const Progress all = Filled(history, kStart);
  EXPECT_THAT(Steps(all.training), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(Steps(all.evaluations), ElementsAre(0, 2, 4));
  EXPECT_EQ(all.training[1].loss, 1.5);
  EXPECT_EQ(all.training[1].accuracy, 0.25);
  EXPECT_EQ(all.training[1].seconds, 7);
  EXPECT_EQ(all.evaluations[1].loss, 2.5);
  const Progress late = Filled(history, kStart, 3);
  EXPECT_THAT(Steps(late.training), ElementsAre(3, 4));
  EXPECT_THAT(Steps(late.evaluations), ElementsAre(4));
  EXPECT_THAT(Filled(history, kStart, 5).training, IsEmpty());
}

TEST(ProgressHistoryTest, RetainsItsCapacityOfEachCurve) {
  ProgressHistory history(3);
  for (int64_t step = 0; step < 8; ++step) history.AddTraining({step, 0, 0, 0});
  history.AddEvaluation({0, 0, 0, 0});
  const Progress progress = Filled(history, kStart);
  EXPECT_THAT(Steps(progress.training), ElementsAre(5, 6, 7));
  EXPECT_THAT(Steps(progress.evaluations), ElementsAre(0));
}

// The first lease of the window only marks when the others started.
TEST(ProgressHistoryTest, RateIsThatOfTheLastMinute) {
  struct Row {
    std::vector<int> seconds;  // of leases of 100 examples
    int now;
    double rate;
  };
  const std::vector<Row> rows = {
      {{}, 0, 0},
      {{0}, 0, 0},                // not known yet
      {{0, 0}, 0, 0},             // nor now
      {{0, 2}, 2, 50},            // 100 examples in 2 s
      {{0, 1, 2, 3, 4}, 4, 100},  // 400 in 4 s
      {{0, 60}, 60, 100.0 / 60},  // just within
      {{0, 61}, 61, 0},           // one alone
      {{0, 50, 100}, 100, 2},     // the first one is dropped
      {{0, 10, 20}, 50, 10},      // by the leases' own time
      {{0, 10, 20}, 70, 10},      // of 10 and 20
      {{0, 10, 20}, 75, 0},       // only the last is in the window
      {{0, 10, 20}, 1000, 0},     // none is
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    ProgressHistory history(10);
    for (const int second : rows[i].seconds) {
      history.AddLease(100, {}, kStart + absl::Seconds(second));
    }
    const Progress progress = Filled(history, kStart + absl::Seconds(rows[i].now));
    EXPECT_DOUBLE_EQ(progress.examples_per_second, rows[i].rate) << "row " << i;
  }
}

TEST(ProgressHistoryTest, TimesAreTheMeansOfTheLastMinute) {
  ProgressHistory history(10);
  EXPECT_FALSE(Filled(history, kStart).mean_times.has_value());
  const auto times = [](int64_t ms) {
    return LeaseTimes{absl::Milliseconds(ms), absl::Milliseconds(2 * ms),
                      absl::Milliseconds(3 * ms)};
  };
  history.AddLease(1, times(1000), kStart);
  history.AddLease(1, times(10), kStart + absl::Seconds(50));
  history.AddLease(1, times(20), kStart + absl::Seconds(70));
  const std::optional<LeaseTimes> mean = Filled(history, kStart + absl::Seconds(70)).mean_times;
  ASSERT_TRUE(mean.has_value());
  EXPECT_EQ(mean->pull, absl::Milliseconds(15));
  EXPECT_EQ(mean->compute, absl::Milliseconds(30));
  EXPECT_EQ(mean->push, absl::Milliseconds(45));
  EXPECT_FALSE(Filled(history, kStart + absl::Seconds(200)).mean_times.has_value());
}

TEST(ProgressHistoryTest, BeginDropsAll) {
  ProgressHistory history(10);
  history.AddTraining({1, 0, 0, 0});
  history.AddEvaluation({1, 0, 0, 0});
  history.AddLease(5, {}, kStart);
  history.AddLease(5, {}, kStart + absl::Seconds(1));
  history.Begin({}, {});
  const Progress progress = Filled(history, kStart + absl::Seconds(1));
  EXPECT_THAT(progress.training, IsEmpty());
  EXPECT_THAT(progress.evaluations, IsEmpty());
  EXPECT_EQ(progress.examples_per_second, 0);
  EXPECT_FALSE(progress.mean_times.has_value());
}

ProgressPoint WithMetrics(int64_t step, size_t count) {
  ProgressPoint point{step, 0, 0, 0};
  for (size_t i = 0; i < count; ++i) {
    point.metrics.push_back({std::string(kMaxMetricNameBytes, 'x'), 1});
  }
  return point;
}

// Curves with as many metrics as a worker may report fit into a message, and into memory: the
// newest points have theirs.
TEST(ProgressHistoryTest, MetricsAreBounded) {
  constexpr int64_t kPoints = 1000;
  ProgressHistory history(kPoints);
  for (int64_t step = 0; step < 2 * kPoints; ++step) {
    history.AddTraining(WithMetrics(step, kMaxMetrics));
  }
  const Progress progress = Filled(history, kStart);
  ASSERT_EQ(progress.training.size(), static_cast<size_t>(kPoints));
  size_t bytes = 0;
  int64_t first_with = -1;
  for (const ProgressPoint& point : progress.training) {
    if (!point.metrics.empty() && first_with < 0) first_with = point.step;
    EXPECT_EQ(point.metrics.empty(), first_with < 0);
    for (const Metric& metric : point.metrics) bytes += metric.name.size() + sizeof(double);
  }
  EXPECT_LE(bytes, ProgressHistory::kMaxMetricBytes);
  EXPECT_GT(bytes, ProgressHistory::kMaxMetricBytes * 3 / 4);

  // Points without metrics push those with metrics out, and make room for new ones.
  for (int64_t step = 0; step < kPoints; ++step) history.AddTraining(WithMetrics(step, 0));
  for (int64_t step = 0; step < 10; ++step) history.AddTraining(WithMetrics(step, 1));
  const std::vector<ProgressPoint> newest = Filled(history, kStart).training;
  for (size_t i = newest.size() - 10; i < newest.size(); ++i) {
    EXPECT_EQ(newest[i].metrics.size(), 1U);
  }
}

}  // namespace
}  // namespace percentdelta

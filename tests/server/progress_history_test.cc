#include "server/progress_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kStart = absl::Hours(1);

Progress Filled(const ProgressHistory& history, absl::Duration now, int64_t from_step = 0) {
  Progress progress;
  history.Fill(from_step, now, progress);
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
  EXPECT_EQ(progress.workers, 0);
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

// The first lease of the window only says when the others began.
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
      {{0, 50, 100}, 100, 2},     // the first one is forgotten
      {{0, 10, 20}, 50, 10},      // by the leases' own time
      {{0, 10, 20}, 70, 10},      // of 10 and 20
      {{0, 10, 20}, 75, 0},       // only the last is in the window
      {{0, 10, 20}, 1000, 0},     // none is
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    ProgressHistory history(10);
    for (const int second : rows[i].seconds) {
      history.AddExamples(100, kStart + absl::Seconds(second));
    }
    const Progress progress = Filled(history, kStart + absl::Seconds(rows[i].now));
    EXPECT_DOUBLE_EQ(progress.examples_per_second, rows[i].rate) << "row " << i;
  }
}

TEST(ProgressHistoryTest, CountsTheWorkersOfTheLastMinute) {
  ProgressHistory history(10);
  history.SeeWorker("a", kStart);
  history.SeeWorker("b", kStart + absl::Seconds(10));
  history.SeeWorker("a", kStart + absl::Seconds(20));
  EXPECT_EQ(Filled(history, kStart + absl::Seconds(20)).workers, 2);
  EXPECT_EQ(Filled(history, kStart + absl::Seconds(70)).workers, 2);
  EXPECT_EQ(Filled(history, kStart + absl::Seconds(71)).workers, 1);
  EXPECT_EQ(Filled(history, kStart + absl::Seconds(81)).workers, 0);
  history.SeeWorker("c", kStart + absl::Seconds(90));
  EXPECT_EQ(Filled(history, kStart + absl::Seconds(90)).workers, 1);
}

TEST(ProgressHistoryTest, ClearForgetsAllButTheWorkers) {
  ProgressHistory history(10);
  history.AddTraining({1, 0, 0, 0});
  history.AddEvaluation({1, 0, 0, 0});
  history.AddExamples(5, kStart);
  history.AddExamples(5, kStart + absl::Seconds(1));
  history.SeeWorker("a", kStart);
  history.Begin({}, {});
  const Progress progress = Filled(history, kStart + absl::Seconds(1));
  EXPECT_THAT(progress.training, IsEmpty());
  EXPECT_THAT(progress.evaluations, IsEmpty());
  EXPECT_EQ(progress.examples_per_second, 0);
  EXPECT_EQ(progress.workers, 1);
}

}  // namespace
}  // namespace percentdelta

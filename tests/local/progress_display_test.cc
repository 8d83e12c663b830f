// SPDX-License-Identifier: Apache-2.0

#include "deploy/local/progress_display.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace percentdelta {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr absl::Duration kInterval = absl::Seconds(10);

Progress AtStep(int64_t step) {
  Progress progress;
  progress.state = TrainingState::kTraining;
  progress.step = step;
  progress.max_steps = 200;
  return progress;
}

Progress Evaluated(int64_t step, double accuracy) {
  Progress progress = AtStep(step);
  progress.evaluations.push_back({step, 0.5, accuracy, 1});
  return progress;
}

TEST(ProgressLineTest, ShowsWhatIsKnown) {
  EXPECT_EQ(ProgressLine(AtStep(0)), "step 0/200");
  Progress progress = Evaluated(40, 0.92614);
  progress.training.push_back({39, 0.31234, 0.9, 1});
  progress.examples_per_second = 1519.7;
  EXPECT_THAT(ProgressLine(progress),
              StartsWith("step 40/200  loss 0.3123  test accuracy 92.61 %  1520 examples/s"));
  progress.message = "shard 1 at h:1 has been silent for 7s";
  EXPECT_THAT(ProgressLine(progress), StartsWith("step 40/200 (shard 1 at h:1 has been silent"));
  progress.state = TrainingState::kGathering;
  progress.message = "waiting for shard 1";
  EXPECT_THAT(ProgressLine(progress), StartsWith("step 40/200  gathering (waiting for shard 1)"));
  progress.state = TrainingState::kFailed;
  EXPECT_THAT(ProgressLine(progress), StartsWith("step 40/200  failed"));
}

TEST(ProgressDisplayTest, OffATerminalLinesAreFew) {
  std::ostringstream out;
  ProgressDisplay display(out, 0, kInterval);
  absl::Time now = absl::FromUnixSeconds(1000);
  for (int64_t i = 0; i < 200; ++i) {  // 40 s
    display.Update(AtStep(i), now);
    now += absl::Milliseconds(200);
  }
  display.Finish();
  EXPECT_EQ(out.str(), "step 0/200\nstep 50/200\nstep 100/200\nstep 150/200\nstep 199/200\n");
}

TEST(ProgressDisplayTest, OffATerminalAnEvaluationIsALine) {
  std::ostringstream out;
  ProgressDisplay display(out, 0, kInterval);
  const absl::Time start = absl::FromUnixSeconds(1000);
  display.Update(AtStep(0), start);
  display.Update(Evaluated(20, 0.5), start + absl::Seconds(1));  // too soon
  display.Update(Evaluated(20, 0.5), start + absl::Seconds(2));
  display.Update(Evaluated(20, 0.5), start + absl::Seconds(5));  // nothing new
  display.Finish();
  EXPECT_EQ(out.str(),
            "step 0/200\nstep 20/200  test accuracy 50.00 %\n"
            "step 20/200  test accuracy 50.00 %\n");
}

TEST(ProgressDisplayTest, OnATerminalOneLineIsRewritten) {
  std::ostringstream out;
  ProgressDisplay display(out, 40, kInterval);
  display.Update(AtStep(50), absl::FromUnixSeconds(1000));
  EXPECT_EQ(out.str(), "\r[=====               ] step 50/200\x1b[K");
  Progress progress = Evaluated(100, 0.75);
  display.Update(progress, absl::FromUnixSeconds(1000));
  EXPECT_THAT(out.str(), Not(HasSubstr("\n")));
  display.Finish();
  EXPECT_THAT(out.str(), EndsWith("\n"));
  // Never wider than the terminal: a wrapped line could not be rewritten.
  for (const absl::string_view line : absl::StrSplit(out.str(), '\r')) {
    EXPECT_LT(line.size(), 40 + std::string("\x1b[K\n").size());
  }
}

TEST(ProgressDisplayTest, StepsOutsideTheTrainingAreClamped) {
  for (const int64_t step : {-5, 0, 200, 900}) {
    std::ostringstream out;
    ProgressDisplay display(out, 80, kInterval);
    display.Update(AtStep(step), absl::FromUnixSeconds(1000));
    EXPECT_THAT(out.str(), HasSubstr("] step "));
  }
  std::ostringstream out;
  ProgressDisplay(out, 80, kInterval).Update(Progress(), absl::FromUnixSeconds(1000));
  EXPECT_THAT(out.str(), HasSubstr("step 0/0"));
}

}  // namespace
}  // namespace percentdelta

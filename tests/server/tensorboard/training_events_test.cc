// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/training_events.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tensorboard/job_events.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using testing::ElementsAre;

const absl::Time kNow = absl::FromUnixSeconds(1000);

// What TensorBoard makes of events: at a START it forgets that step and later ones.
class Board {
 public:
  void Read(const std::vector<tensorboard::Event>& events) {
    for (const tensorboard::Event& event : events) {
      if (event.session_log().status() == tensorboard::SessionLog::START) {
        for (auto& [tag, points] : points_) {
          points.erase(points.lower_bound(event.step()), points.end());
        }
        starts_.push_back(event.step());
      }
      for (const tensorboard::Summary::Value& value : event.summary().value()) {
        points_[value.tag()].emplace(event.step(), value.simple_value());
      }
    }
  }

  std::vector<int64_t> StepsOf(const std::string& tag) {
    std::vector<int64_t> steps;
    for (const auto& [step, value] : points_[tag]) steps.push_back(step);
    return steps;
  }
  float At(const std::string& tag, int64_t step) { return points_[tag].find(step)->second; }
  const std::vector<int64_t>& starts() const { return starts_; }

 private:
  std::map<std::string, std::multimap<int64_t, float>> points_;  // by tag and step
  std::vector<int64_t> starts_;
};

// A training that writes to a board through processes and generations.
class TrainingEventsTest : public testing::Test {
 protected:
  TrainingEventsTest() { events_.emplace(job_); }

  // The steps first..last-1 of everything; `statistics`: up to which step there are statistics.
  TrainingSnapshot Snapshot(uint64_t generation, int64_t start, int64_t first, int64_t last,
                            int64_t statistics = -1) const {
    TrainingSnapshot snapshot;
    snapshot.generation = generation;
    snapshot.first_step = start;
    for (int64_t step = first; step < last; ++step) {
      const auto number = static_cast<double>(step);
      snapshot.training.push_back({step, number / 8, .5, number + 1});
      if (step % 2 == 0) snapshot.evaluations.push_back({step, number, .25, number + 1});
      if (statistics >= 0 && step >= statistics) continue;
      TensorStatistics tensor;
      tensor.step = step;
      tensor.tensor = "a/b";
      tensor.rate = .25;
      tensor.multiplier = number;
      tensor.relative_delta = number / 2;
      tensor.sgd_relative_delta = number / 4;
      snapshot.statistics.push_back({step, {tensor}});
      if (step % 3 == 0) snapshot.histograms.push_back({step, {{"a/b", OneEntry(), OneEntry()}}});
    }
    return snapshot;
  }

  static Histogram OneEntry() { return {{{1, 1}}, 1e-12F, 1e-12F}; }

  void Add(const TrainingSnapshot& snapshot) {
    std::vector<tensorboard::Event> added;
    events_->Add(snapshot, kNow, [&](const tensorboard::Event& event) { added.push_back(event); });
    board_.Read(added);
    file_.insert(file_.end(), added.begin(), added.end());
  }

  // The process ends, and `lost` events of it never got to the disk; the next one reads the rest.
  void Restart(size_t lost = 0) {
    file_.resize(file_.size() - lost);
    events_.emplace(job_);
    board_ = Board();
    board_.Read(file_);
    for (const tensorboard::Event& event : file_) events_->Restore(event);
  }

  void ExpectAll(int64_t steps) {
    std::vector<int64_t> all;
    std::vector<int64_t> even;
    std::vector<int64_t> thirds;
    for (int64_t step = 0; step < steps; ++step) {
      all.push_back(step);
      if (step % 2 == 0) even.push_back(step);
      if (step % 3 == 0) thirds.push_back(step);
    }
    for (const char* tag : {"loss/training", "accuracy/training", "rate", "multiplier/a/b",
                            "relative_change/a/b", "sgd_relative_change/a/b"}) {
      EXPECT_EQ(board_.StepsOf(tag), all) << tag;
    }
    EXPECT_EQ(board_.StepsOf("loss/test"), even);
    for (const char* tag : {"weights/a/b", "gradients/a/b"}) {
      EXPECT_EQ(board_.StepsOf(tag), thirds) << tag;
    }
    EXPECT_EQ(board_.StepsOf(std::string(kJobTag)), std::vector<int64_t>{0});
  }

  const Job job_ = SmallJob();
  std::optional<TrainingEvents> events_;
  std::vector<tensorboard::Event> file_;
  Board board_;
};

TEST_F(TrainingEventsTest, WritesEachStepOnce) {
  EXPECT_EQ(events_->where(1).training, 0);
  Add(Snapshot(1, 0, 0, 3));
  EXPECT_EQ(events_->where(1).training, 3);
  Add(Snapshot(1, 0, 2, 5));
  ExpectAll(5);
  EXPECT_THAT(board_.starts(), ElementsAre(0));
  EXPECT_EQ(board_.At("loss/training", 2), .25F);
  EXPECT_EQ(board_.At("loss/test", 4), 4);
  EXPECT_EQ(board_.At("multiplier/a/b", 3), 3);
  EXPECT_EQ(board_.At("relative_change/a/b", 3), 1.5F);
  EXPECT_EQ(board_.At("sgd_relative_change/a/b", 3), .75F);
  EXPECT_EQ(board_.At("examples_per_second", 3),
            static_cast<float>(job_.batch_size * job_.gradients_per_step));
}

TEST_F(TrainingEventsTest, AGenerationFromACheckpointReplacesWhatFollowsIt) {
  Add(Snapshot(1, 0, 0, 7));
  Add(Snapshot(2, 4, 0, 6));
  ExpectAll(6);
  EXPECT_THAT(board_.starts(), ElementsAre(0, 4));
}

TEST_F(TrainingEventsTest, ATrainingThatStartsAgainReplacesAll) {
  Add(Snapshot(1, 0, 0, 7));
  Add(Snapshot(2, 0, 0, 2));
  ExpectAll(2);
  EXPECT_THAT(board_.starts(), ElementsAre(0, 0));
}

TEST_F(TrainingEventsTest, ARestartedProcessContinues) {
  Add(Snapshot(1, 0, 0, 7));
  Restart();
  EXPECT_EQ(events_->where(2).training, 0);
  Add(Snapshot(2, 4, 0, 6));
  Add(Snapshot(2, 4, 6, 8));
  ExpectAll(8);
  EXPECT_THAT(board_.starts(), ElementsAre(0, 4));
}

// Whatever number of events a crash loses, the restored history has them.
TEST_F(TrainingEventsTest, StepsThatACrashLostAreWrittenAgain) {
  Add(Snapshot(1, 0, 0, 7));
  const std::vector<tensorboard::Event> whole = file_;
  for (size_t lost = 0; lost <= whole.size(); ++lost) {
    file_ = whole;
    Restart(lost);
    Add(Snapshot(2, 4, 0, 6));
    ExpectAll(6);
  }
}

// A history that no longer reaches back leaves what is written before it.
TEST_F(TrainingEventsTest, AShortHistoryKeepsWhatIsWritten) {
  Add(Snapshot(1, 0, 0, 7));
  Restart();
  Add(Snapshot(2, 6, 4, 9));
  ExpectAll(9);
  EXPECT_THAT(board_.starts(), ElementsAre(0, 6));
}

TEST_F(TrainingEventsTest, StatisticsMayComeLateAndOutOfOrder) {
  Add(Snapshot(1, 0, 0, 4, 2));
  TrainingSnapshot late = Snapshot(1, 0, 3, 4);
  Add(late);
  EXPECT_EQ(events_->where(1).statistics, 2);
  Add(Snapshot(1, 0, 2, 4));
  ExpectAll(4);
  EXPECT_EQ(events_->where(1).statistics, 4);
}

TEST_F(TrainingEventsTest, TheJobsFieldsAreHyperParameters) {
  const tensorboard::Event event = JobEvent(job_, kNow);
  ASSERT_EQ(event.summary().value_size(), 2);
  tensorboard::HParamsPluginData data;
  ASSERT_TRUE(data.ParseFromString(event.summary().value(1).metadata().plugin_data().content()));
  const auto& values = data.session_start_info().hparams();
  EXPECT_EQ(values.at("max_steps").number_value(), static_cast<double>(job_.max_steps));
  EXPECT_EQ(values.at("name").string_value(), job_.name);
}

}  // namespace
}  // namespace percentdelta

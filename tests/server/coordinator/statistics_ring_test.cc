// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/statistics_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kGeneration = 9;
constexpr int64_t kLast = std::numeric_limits<int64_t>::max();

class CountingListener : public StatisticsListener {
 public:
  void Changed() override { ++changes; }
  std::atomic<int> changes = 0;
};

Job JobOfSteps(int64_t steps) {
  Job job = SmallJob();
  job.max_steps = steps;
  return job;
}

class StatisticsRingTest : public testing::Test {
 protected:
  TensorStatistics UpdateOf(int64_t step, int tensor) const {
    TensorStatistics update;
    update.step = step;
    update.tensor = model_.tensors[tensor].name;
    update.layer = std::string(model_.tensors[tensor].layer());
    update.rate = static_cast<double>(100 * step + tensor);
    return update;
  }

  void AddStep(StatisticsRing& ring, int64_t step) const {
    for (size_t t = model_.tensors.size(); t-- > 0;) {
      const absl::Status added = ring.Add(kGeneration, UpdateOf(step, static_cast<int>(t)));
      EXPECT_OK(added);
    }
  }

  static std::vector<int64_t> Steps(const StatisticsRing& ring, int64_t first = 0,
                                    int64_t last = kLast) {
    std::vector<int64_t> steps;
    for (const StepStatistics& step : ring.Range(first, last, "")) steps.push_back(step.step);
    return steps;
  }

  void SetUp() override { ring_.Begin(kGeneration); }

  const Job job_ = JobOfSteps(1000);
  const ModelSpec& model_ = job_.model;
  StatisticsRing ring_{job_, 3};
};

TEST_F(StatisticsRingTest, IsEmptyAtFirst) {
  EXPECT_EQ(ring_.oldest(), -1);
  EXPECT_EQ(ring_.newest(), -1);
  EXPECT_THAT(Steps(ring_), IsEmpty());
  EXPECT_EQ(ring_.ended(), std::nullopt);
}

TEST_F(StatisticsRingTest, GivesUpdatesInTheJobsOrder) {
  AddStep(ring_, 4);
  const std::vector<StepStatistics> steps = ring_.Range(0, kLast, "");
  ASSERT_THAT(steps, SizeIs(1));
  EXPECT_EQ(steps[0].step, 4);
  ASSERT_THAT(steps[0].updates, SizeIs(model_.tensors.size()));
  for (size_t t = 0; t < model_.tensors.size(); ++t) {
    EXPECT_EQ(steps[0].updates[t].tensor, model_.tensors[t].name);
    EXPECT_EQ(steps[0].updates[t].rate, 400 + t);
  }
}

// A step does not wait for what is not trained.
TEST_F(StatisticsRingTest, BuffersHaveNone) {
  Job job = JobOfSteps(2);
  job.model.tensors[kLarge].buffer = true;
  job.model.tensors[kFew].buffer = true;
  job.model.tensors[kBlock].buffer = true;
  StatisticsRing ring(job, 3);
  ring.Begin(kGeneration);
  for (const SmallTensor tensor : {kLarge, kFew, kBlock}) {
    const std::string name = job.model.tensors[tensor].name;
    EXPECT_EQ(ring.Add(kGeneration, UpdateOf(0, tensor)),
              absl::InvalidArgumentError("statistics: expected a tensor that is trained, got " +
                                         name + ", a buffer"));
  }
  EXPECT_OK(ring.Add(kGeneration, UpdateOf(0, kZeros)));
  EXPECT_EQ(ring.newest(), -1);
  EXPECT_OK(ring.Add(kGeneration, UpdateOf(0, kScalar)));
  EXPECT_TRUE(ring.IsCompleteBefore(1));
  const std::vector<StepStatistics> steps = ring.Range(0, kLast, "");
  ASSERT_THAT(steps, SizeIs(1));
  ASSERT_THAT(steps[0].updates, SizeIs(2));
  EXPECT_EQ(steps[0].updates[0].tensor, "b/scalar");
  EXPECT_EQ(steps[0].updates[1].tensor, "c/zeros");
  EXPECT_OK(ring.CheckLayer("b"));
  EXPECT_EQ(ring.CheckLayer("a"), absl::NotFoundError("layer: expected one of b, c, got \"a\""));
  const absl::Status forged = ring.CheckLayer("a\n\x1b" + std::string(1 << 20, 'x'));
  EXPECT_THAT(forged,
              StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr("got \"a\\n\\x1bxxx")));
  EXPECT_LT(forged.message().size(), 200U);

  // As a checkpoint restores it.
  ring.Begin(kGeneration + 1, 1, steps);
  EXPECT_TRUE(ring.IsCompleteBefore(1));
  EXPECT_EQ(ring.Range(0, kLast, "c")[0].updates[0].tensor, "c/zeros");
  for (const SmallTensor tensor : {kScalar, kZeros}) {
    EXPECT_OK(ring.Add(kGeneration + 1, UpdateOf(1, tensor)));
  }
  EXPECT_EQ(ring.ended(), absl::OkStatus());
}

TEST_F(StatisticsRingTest, RetainsItsCapacity) {
  for (int64_t step = 0; step < 6; ++step) {
    AddStep(ring_, step);
    EXPECT_EQ(ring_.newest(), step);
    EXPECT_EQ(ring_.oldest(), std::max<int64_t>(0, step - 2));
  }
  EXPECT_THAT(Steps(ring_), ElementsAre(3, 4, 5));
  AddStep(ring_, 2);  // too old: dropped
  EXPECT_THAT(Steps(ring_), ElementsAre(3, 4, 5));
}

TEST_F(StatisticsRingTest, GivesTheRangeThatIsAskedFor) {
  StatisticsRing ring(job_, 100);
  ring.Begin(kGeneration);
  for (int64_t step = 0; step < 6; ++step) AddStep(ring, step);
  EXPECT_THAT(Steps(ring, 2, 4), ElementsAre(2, 3, 4));
  EXPECT_THAT(Steps(ring, -5, 1), ElementsAre(0, 1));
  EXPECT_THAT(Steps(ring, 5, 9), ElementsAre(5));
  EXPECT_THAT(Steps(ring, 4, 2), IsEmpty());
  EXPECT_THAT(Steps(ring, 6), IsEmpty());
}

TEST_F(StatisticsRingTest, PartialStepsAreInvisible) {
  AddStep(ring_, 0);
  for (const int tensor : {kLarge, kScalar, kBlock, kZeros}) {
    EXPECT_OK(ring_.Add(kGeneration, UpdateOf(1, tensor)));
  }
  EXPECT_EQ(ring_.newest(), 0);
  EXPECT_THAT(Steps(ring_), ElementsAre(0));
  AddStep(ring_, 2);  // a later one is already complete
  EXPECT_THAT(Steps(ring_), ElementsAre(0, 2));
  EXPECT_OK(ring_.Add(kGeneration, UpdateOf(1, kFew)));
  EXPECT_THAT(Steps(ring_), ElementsAre(0, 1, 2));
  EXPECT_EQ(ring_.newest(), 2);
}

TEST_F(StatisticsRingTest, RepeatsAreDropped) {
  for (int i = 0; i < 5; ++i) EXPECT_OK(ring_.Add(kGeneration, UpdateOf(0, kFew)));
  EXPECT_EQ(ring_.newest(), -1);
  TensorStatistics other = UpdateOf(0, kFew);
  other.rate = 77;
  EXPECT_OK(ring_.Add(kGeneration, other));
  AddStep(ring_, 0);
  EXPECT_EQ(ring_.Range(0, 0, "")[0].updates[kFew].rate, kFew);
}

TEST_F(StatisticsRingTest, FiltersByLayer) {
  AddStep(ring_, 0);
  const std::vector<StepStatistics> steps = ring_.Range(0, kLast, "b");
  ASSERT_THAT(steps, SizeIs(1));
  ASSERT_THAT(steps[0].updates, SizeIs(2));
  EXPECT_EQ(steps[0].updates[0].tensor, "b/scalar");
  EXPECT_EQ(steps[0].updates[1].tensor, "b/weights");
}

TEST_F(StatisticsRingTest, ChecksLayers) {
  EXPECT_OK(ring_.CheckLayer(""));
  EXPECT_OK(ring_.CheckLayer("c"));
  for (const std::string layer : {"d", "a/weights", "A"}) {
    const absl::Status status = ring_.CheckLayer(layer);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
    EXPECT_EQ(std::string(status.message()),
              "layer: expected one of a, b, c, got \"" + layer + "\"");
  }
}

TEST_F(StatisticsRingTest, RefusesWhatIsNotOfTheJob) {
  TensorStatistics update = UpdateOf(0, kFew);
  update.tensor = "a/nothing";
  absl::Status status = ring_.Add(kGeneration, update);
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("expected a tensor of the job"),
                                                          HasSubstr("\"a/nothing\""))));
  status = ring_.Add(kGeneration, UpdateOf(-1, kFew));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(std::string(status.message()), "statistics: expected a step in 0..999, got -1");
  status = ring_.Add(kGeneration, UpdateOf(1000, kFew));
  EXPECT_EQ(std::string(status.message()), "statistics: expected a step in 0..999, got 1000");
}

TEST_F(StatisticsRingTest, ListenersAreNotifiedOfCompleteStepsAndOfTheEnd) {
  const auto listener = std::make_shared<CountingListener>();
  auto gone = std::make_shared<CountingListener>();
  AddStep(ring_, 0);
  ring_.Listen(listener);
  ring_.Listen(gone);
  gone.reset();
  EXPECT_OK(ring_.Add(kGeneration, UpdateOf(1, kFew)));
  EXPECT_EQ(listener->changes, 0);
  AddStep(ring_, 1);
  EXPECT_EQ(listener->changes, 1);
  AddStep(ring_, 1);
  EXPECT_EQ(listener->changes, 1);
  ring_.End(kGeneration, absl::AbortedError("it failed"));
  EXPECT_EQ(listener->changes, 2);
  ring_.End(kGeneration, absl::UnavailableError("later"));
  EXPECT_EQ(listener->changes, 2);
  EXPECT_EQ(ring_.ended(), absl::AbortedError("it failed"));
}

TEST_F(StatisticsRingTest, TheLastStepEndsItOnceNoneIsMissing) {
  const Job job = JobOfSteps(5);
  StatisticsRing ring(job, 3);
  ring.Begin(kGeneration);
  for (const int64_t step : {0, 1, 2, 4}) AddStep(ring, step);
  EXPECT_EQ(ring.ended(), std::nullopt);
  AddStep(ring, 3);
  EXPECT_EQ(ring.ended(), absl::OkStatus());
  ring.End(kGeneration, absl::UnavailableError("shutting down"));
  EXPECT_EQ(ring.ended(), absl::OkStatus());
}

TEST_F(StatisticsRingTest, StepsThatNeverBecomeCompleteAreDropped) {
  for (int64_t step = 0; step < 10; ++step) {
    EXPECT_OK(ring_.Add(kGeneration, UpdateOf(step, kFew)));
  }
  // Only the last three are retained: the others lack what was added above.
  for (int64_t step = 0; step < 10; ++step) {
    for (const int tensor : {kLarge, kScalar, kBlock, kZeros}) {
      EXPECT_OK(ring_.Add(kGeneration, UpdateOf(step, tensor)));
    }
  }
  EXPECT_THAT(Steps(ring_), ElementsAre(7, 8, 9));
}

TEST_F(StatisticsRingTest, DroppedStepIsNotTheNewest) {
  EXPECT_OK(ring_.Add(kGeneration, UpdateOf(9, kFew)));
  AddStep(ring_, 2);
  EXPECT_EQ(ring_.newest(), -1);
  EXPECT_THAT(Steps(ring_), IsEmpty());
}

TEST_F(StatisticsRingTest, TakesOnlyTheCurrentGeneration) {
  StatisticsRing ring(job_, 3);
  for (const uint64_t generation : {uint64_t{0}, kGeneration}) {
    EXPECT_THAT(ring.Add(generation, UpdateOf(0, kFew)),
                StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  ring.Begin(kGeneration);
  EXPECT_EQ(ring.Add(kGeneration + 1, UpdateOf(0, kFew)),
            absl::FailedPreconditionError("generation: expected 9, got 10"));
  EXPECT_OK(ring.Add(kGeneration, UpdateOf(0, kFew)));
}

TEST_F(StatisticsRingTest, NewGenerationStartsEmpty) {
  const auto listener = std::make_shared<CountingListener>();
  ring_.Listen(listener);
  for (int64_t step = 0; step < 8; ++step) AddStep(ring_, step);
  EXPECT_OK(ring_.Add(kGeneration, UpdateOf(8, kFew)));
  ring_.End(kGeneration + 1, absl::AbortedError("of another generation"));
  EXPECT_EQ(ring_.ended(), std::nullopt);
  ring_.End(kGeneration, absl::OkStatus());
  ring_.Begin(kGeneration + 1);
  EXPECT_EQ(ring_.ended(), std::nullopt);
  EXPECT_EQ(ring_.newest(), -1);
  EXPECT_EQ(ring_.oldest(), -1);
  const int changes = listener->changes;
  for (size_t t = 0; t < model_.tensors.size(); ++t) {
    EXPECT_OK(ring_.Add(kGeneration + 1, UpdateOf(0, static_cast<int>(t))));
  }
  EXPECT_THAT(Steps(ring_), ElementsAre(0));
  EXPECT_EQ(listener->changes, changes + 1);
}

TEST_F(StatisticsRingTest, ManyThreads) {
  StatisticsRing ring(job_, 1000);
  ring.Begin(kGeneration);
  const auto listener = std::make_shared<CountingListener>();
  ring.Listen(listener);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < model_.tensors.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int64_t step = 0; step < 200; ++step) {
        EXPECT_OK(ring.Add(kGeneration, UpdateOf(step, static_cast<int>(t))));
        if (step % 50 == 0) ring.Range(0, kLast, "b");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Steps(ring), SizeIs(200));
  EXPECT_EQ(listener->changes, 200);
}

// The job determines the layer, not the report.
TEST_F(StatisticsRingTest, LayersAreTheJobs) {
  for (size_t t = 0; t < model_.tensors.size(); ++t) {
    TensorStatistics update = UpdateOf(0, static_cast<int>(t));
    update.layer = std::string(1 << 20, '\x1b');
    ASSERT_OK(ring_.Add(kGeneration, update));
  }
  const std::vector<StepStatistics> steps = ring_.Range(0, 0, "");
  ASSERT_THAT(steps, SizeIs(1));
  for (size_t t = 0; t < model_.tensors.size(); ++t) {
    EXPECT_EQ(steps[0].updates[t].layer, model_.tensors[t].layer());
  }
  TensorStatistics unknown = UpdateOf(0, 0);
  unknown.tensor = std::string(1 << 20, '\n');
  const absl::Status refused = ring_.Add(kGeneration, unknown);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_LT(refused.message().size(), 300U);
}

}  // namespace
}  // namespace percentdelta

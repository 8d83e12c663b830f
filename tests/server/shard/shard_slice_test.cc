// SPDX-License-Identifier: Apache-2.0

#include "server/shard/shard_slice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/job/initial_weights.h"
#include "server/update/optimizer.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Result = ShardSlice::StageResult;

constexpr TensorRange kSlice = {kFew, 0, 0, 5};

Job JobOfSlots(int32_t slots) {
  Job job = SmallJob();
  job.gradients_per_step = slots;
  return job;
}

Buffer Filled(ShardSlice& slice, float value) {
  Buffer buffer = slice.TakeBuffer();
  buffer->assign(buffer->size(), value);
  return buffer;
}

// The slots of a run, whose gradients are filled with their numbers.
std::vector<int> Slots(const ShardSlice::Run& run) {
  std::vector<int> slots;
  for (const Buffer& gradient : run.gradients) {
    slots.push_back(static_cast<int>(gradient->front()));
    EXPECT_THAT(*gradient, Each(gradient->front()));
  }
  return slots;
}

// Ends the current step with weights that equal the next one's number.
void PublishNext(ShardSlice& slice) {
  slice.Publish(Filled(slice, static_cast<float>(slice.current().step + 1)));
}

// The step that Await delivers at once, or -1.
int64_t Delivered(ShardSlice& slice, int64_t step) {
  const auto sink = std::make_shared<RecordingSink>();
  const absl::Status status = slice.Await(step, sink);
  if (!status.ok()) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition)) << status;
    EXPECT_THAT(sink->snapshots(), IsEmpty());
  }
  const std::vector<Snapshot> snapshots = sink->snapshots();
  return snapshots.empty() ? -1 : snapshots[0].step;
}

TEST(ShardSliceTest, BeginsWithItsPartOfTheInitialWeights) {
  const Job job = SmallJob();
  constexpr TensorRange kPart = {kLarge, 1, kBlockEntries, 2 * kBlockEntries};
  ShardSlice slice(job, kPart);
  std::vector<float> expected(kPart.size());
  DrawInitialWeights(job.model.tensors[kLarge], job.seed, kPart.begin, absl::MakeSpan(expected));
  EXPECT_EQ(slice.current().step, 0);
  EXPECT_EQ(*slice.current().values, expected);
}

TEST(ShardSliceTest, KeepsWhatTheJobsUpdateNames) {
  Job job = SmallJob();
  ShardSlice slice(job, kSlice);
  EXPECT_THAT(StateNames(job), ElementsAre("velocity"));
  EXPECT_THAT(slice.optimizer_state(), ElementsAre(AllOf(SizeIs(5), Each(0.0F))));
  job.momentum = {};
  EXPECT_THAT(ShardSlice(job, kSlice).optimizer_state(), IsEmpty());
}

// For the slots staged, one after the other: the run that an adder then gets.
TEST(ShardSliceTest, GivesRunsInSlotOrder) {
  const std::vector<std::vector<std::pair<int32_t, std::vector<int>>>> orders = {
      {{0, {0}}, {1, {1}}, {2, {2}}, {3, {3}}},
      {{3, {}}, {2, {}}, {1, {}}, {0, {0, 1, 2, 3}}},
      {{1, {}}, {0, {0, 1}}, {3, {}}, {2, {2, 3}}},
      {{0, {0}}, {2, {}}, {3, {}}, {1, {1, 2, 3}}},
  };
  const Job job = JobOfSlots(4);
  ShardSlice slice(job, kSlice);
  for (size_t step = 0; step < orders.size(); ++step) {
    int next = 0;
    std::vector<bool> staged(4);
    for (const auto& [slot, expected] : orders[step]) {
      SCOPED_TRACE(testing::Message() << "step " << step << " slot " << slot);
      const bool completes = std::count(staged.begin(), staged.end(), true) == 3;
      EXPECT_EQ(*slice.Stage(step, slot, Filled(slice, slot)),
                completes ? Result::kComplete : Result::kStaged);
      staged[slot] = true;
      for (int other = 0; other < 4; ++other) EXPECT_EQ(slice.Has(step, other), staged[other]);
      EXPECT_EQ(slice.StartAdding(), !expected.empty());
      EXPECT_FALSE(slice.StartAdding());
      if (expected.empty()) continue;
      const ShardSlice::Run run = slice.TakeRun();
      EXPECT_EQ(Slots(run), expected);
      EXPECT_EQ(run.first, next == 0);
      next += static_cast<int>(expected.size());
      EXPECT_EQ(run.last, next == 4);
      EXPECT_FALSE(slice.StartAdding());
      if (!run.last) {
        EXPECT_THAT(slice.TakeRun().gradients, IsEmpty());
      }
      EXPECT_EQ(slice.gathered_steps(), static_cast<int64_t>(step) + (completes ? 1 : 0));
    }
    PublishNext(slice);
  }
}

// The last gradient comes while the adder adds others: its next TakeRun returns it.
TEST(ShardSliceTest, AnAdderFindsWhatCameMeanwhile) {
  const Job job = JobOfSlots(3);
  ShardSlice slice(job, kSlice);
  ASSERT_OK(slice.Stage(0, 0, Filled(slice, 0)));
  ASSERT_TRUE(slice.StartAdding());
  EXPECT_EQ(Slots(slice.TakeRun()), std::vector<int>({0}));
  ASSERT_OK(slice.Stage(0, 1, Filled(slice, 1)));
  EXPECT_FALSE(slice.StartAdding());
  EXPECT_EQ(*slice.Stage(0, 2, Filled(slice, 2)), Result::kComplete);
  EXPECT_FALSE(slice.StartAdding());
  const ShardSlice::Run run = slice.TakeRun();
  EXPECT_EQ(Slots(run), std::vector<int>({1, 2}));
  EXPECT_TRUE(run.last);
  EXPECT_FALSE(run.first);
}

TEST(ShardSliceTest, DropsDuplicates) {
  const Job job = JobOfSlots(2);
  ShardSlice slice(job, kSlice);
  EXPECT_EQ(*slice.Stage(0, 1, Filled(slice, 1)), Result::kStaged);
  EXPECT_EQ(*slice.Stage(0, 1, Filled(slice, 9)), Result::kDuplicate);
  EXPECT_EQ(*slice.Stage(0, 0, Filled(slice, 0)), Result::kComplete);
  EXPECT_EQ(*slice.Stage(0, 0, Filled(slice, 9)), Result::kDuplicate);
  ASSERT_TRUE(slice.StartAdding());
  EXPECT_EQ(Slots(slice.TakeRun()), std::vector<int>({0, 1}));
  // While the update runs, after the gradients were taken, ...
  EXPECT_EQ(*slice.Stage(0, 0, Filled(slice, 9)), Result::kDuplicate);
  EXPECT_TRUE(slice.Has(0, 0));
  PublishNext(slice);
  // ... and when it is past.
  EXPECT_EQ(*slice.Stage(0, 0, Filled(slice, 9)), Result::kDuplicate);
  EXPECT_TRUE(slice.Has(0, 0));
  EXPECT_FALSE(slice.Has(1, 0));
  EXPECT_EQ(*slice.Stage(1, 0, Filled(slice, 0)), Result::kStaged);
  EXPECT_EQ(*slice.Stage(1, 1, Filled(slice, 0)), Result::kComplete);
}

TEST(ShardSliceTest, RefusesAFutureStep) {
  const Job job = JobOfSlots(1);
  ShardSlice slice(job, kSlice);
  const absl::Status status = slice.Stage(1, 0, Filled(slice, 1)).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(status.message()), HasSubstr("a/biases: expected step 0, got 1"));
  EXPECT_FALSE(slice.Has(1, 0));
  EXPECT_EQ(*slice.Stage(0, 0, Filled(slice, 1)), Result::kComplete);
}

TEST(ShardSliceTest, OneOfManyThreadsCompletesAStep) {
  constexpr int kSlots = 8;
  const Job job = JobOfSlots(kSlots);
  ShardSlice slice(job, kSlice);
  for (int64_t step = 0; step < 20; ++step) {
    std::atomic<int> complete = 0;
    std::atomic<int> staged = 0;
    std::vector<int> taken;  // of the one adder: under no lock
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < kSlots; ++i) {  // every thread has every slot
          const int32_t slot = (i + 3 * thread) % kSlots;
          const Result result = *slice.Stage(step, slot, Filled(slice, static_cast<float>(slot)));
          if (result == Result::kComplete) ++complete;
          if (result == Result::kStaged) ++staged;
          if (!slice.StartAdding()) continue;
          for (ShardSlice::Run run = slice.TakeRun(); !run.gradients.empty();
               run = slice.TakeRun()) {
            for (const int number : Slots(run)) taken.push_back(number);
            if (run.last) break;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(complete, 1);
    EXPECT_EQ(staged, kSlots - 1);
    EXPECT_THAT(taken, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    PublishNext(slice);
  }
}

TEST(ShardSliceTest, DeliversThePresentStepAtOnce) {
  const Job job = SmallJob();
  ShardSlice slice(job, kSlice);
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_OK(slice.Await(0, sink));
  ASSERT_THAT(sink->snapshots(), SizeIs(1));
  EXPECT_EQ(sink->snapshots()[0].values, slice.current().values);
  EXPECT_EQ(sink->snapshots()[0].range.tensor, kFew);
}

TEST(ShardSliceTest, PullsWaitForExactlyTheirStep) {
  const Job job = SmallJob();
  ShardSlice slice(job, kSlice);
  const auto next = std::make_shared<RecordingSink>();
  const auto later = std::make_shared<RecordingSink>();
  auto gone = std::make_shared<RecordingSink>();
  ASSERT_OK(slice.Await(2, later));
  ASSERT_OK(slice.Await(1, next));
  ASSERT_OK(slice.Await(1, gone));
  gone.reset();
  EXPECT_THAT(next->snapshots(), IsEmpty());
  PublishNext(slice);
  ASSERT_THAT(next->snapshots(), SizeIs(1));
  EXPECT_EQ(next->snapshots()[0].step, 1);
  EXPECT_THAT(*next->snapshots()[0].values, Each(1));
  EXPECT_THAT(later->snapshots(), IsEmpty());
  PublishNext(slice);
  EXPECT_THAT(next->snapshots(), SizeIs(1));
  ASSERT_THAT(later->snapshots(), SizeIs(1));
  EXPECT_EQ(later->snapshots()[0].step, 2);
  EXPECT_THAT(later->ends(), IsEmpty());
}

// A snapshot that is held does not change, however many steps follow.
TEST(ShardSliceTest, SnapshotsStayAsTheyAre) {
  const Job job = SmallJob();
  ShardSlice slice(job, kSlice);
  PublishNext(slice);
  const Snapshot held = slice.current();
  for (int i = 0; i < 10; ++i) PublishNext(slice);
  EXPECT_EQ(held.step, 1);
  EXPECT_THAT(*held.values, Each(1));
}

TEST(ShardSliceTest, StepsBeforeTheLastAreGone) {
  const Job job = SmallJob();
  ShardSlice slice(job, kSlice);
  PublishNext(slice);
  EXPECT_EQ(Delivered(slice, 0), 0);
  PublishNext(slice);
  EXPECT_EQ(Delivered(slice, 2), 2);
  EXPECT_EQ(Delivered(slice, 1), 1);
  EXPECT_EQ(Delivered(slice, 0), -1);
  const absl::Status status = slice.Await(0, std::make_shared<RecordingSink>());
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("a/biases"), HasSubstr("expected step 2"), HasSubstr("got 0")));
}

TEST(ShardSliceTest, RetainsTheLastEvaluatedStep) {
  Job job = SmallJob();
  job.max_steps = 7;
  job.evaluation = EvaluationSpec{3, 10};
  ShardSlice slice(job, kSlice);
  // The steps that are available, by the current one.
  const std::vector<std::vector<int64_t>> retained = {{0},    {0, 1},    {0, 1, 2}, {2, 3},
                                                      {3, 4}, {3, 4, 5}, {5, 6},    {6, 7}};
  for (int64_t step = 0; step <= 7; ++step) {
    std::vector<int64_t> got;
    for (int64_t past = 0; past <= step; ++past) {
      if (Delivered(slice, past) == past) got.push_back(past);
    }
    EXPECT_EQ(got, retained[step]) << "at step " << step;
    if (step < 7) PublishNext(slice);
  }
}

TEST(ShardSliceTest, CloseEndsPullsThatWait) {
  const Job job = SmallJob();
  ShardSlice slice(job, kSlice);
  const auto sink = std::make_shared<RecordingSink>();
  auto gone = std::make_shared<RecordingSink>();
  ASSERT_OK(slice.Await(1, sink));
  ASSERT_OK(slice.Await(1, gone));
  gone.reset();
  slice.Close(absl::AbortedError("another generation"));
  EXPECT_THAT(sink->ends(), ElementsAre(absl::AbortedError("another generation")));
  EXPECT_EQ(slice.Await(1, sink), absl::AbortedError("another generation"));
  PublishNext(slice);
  EXPECT_THAT(sink->snapshots(), IsEmpty());
  EXPECT_THAT(sink->ends(), SizeIs(1));
}

}  // namespace
}  // namespace percentdelta

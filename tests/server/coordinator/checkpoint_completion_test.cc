// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/checkpoint_completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

// One tensor on one shard; a checkpoint every two of four steps of one slot.
Job CompletionJob() {
  Job job = SmallJob();
  job.model.tensors = {{"a", {2}, ConstantInitializer{1}}};
  job.max_steps = 4;
  job.gradients_per_step = 1;
  job.checkpoint = CheckpointSpec{2, "unused", 2};
  return job;
}

class CheckpointCompletionTest : public testing::Test {
 protected:
  CheckpointCompletionTest() {
    completion_.Begin(0, false);
    statistics_.Begin(1);
    table_.Confirm(job_.max_steps);
  }

  // Trains up to `step`, with statistics.
  void TrainTo(int64_t step) {
    while (table_.step() < step) {
      TensorStatistics update;
      update.step = table_.step();
      update.tensor = "a";
      EXPECT_OK(statistics_.Add(1, update));
      const std::optional<Lease> lease = table_.Next("w", now_);
      ASSERT_TRUE(lease.has_value());
      LeaseResult result;
      result.lease_id = lease->id;
      result.examples = job_.batch_size;
      EXPECT_OK(table_.Complete(result, now_));
    }
  }

  void AddPart(int64_t step) { completion_.AddParts(0, {{step, {"file", 1, "x"}, ""}}); }

  bool IsReady() {
    return completion_.FindReady(table_, statistics_, histograms_, now_).has_value();
  }

  absl::Duration now_ = absl::Hours(1);
  const Job job_ = CompletionJob();
  WorkerRoster roster_;
  LeaseTable table_{job_, {.generation = 1}, roster_};
  StatisticsRing statistics_{job_, 10};
  HistogramRing histograms_{job_, 1, 0};
  CheckpointCompletion completion_{job_, 1, MakeSilentLogger()};
};

TEST_F(CheckpointCompletionTest, IsReadyWithItsPartsAndItsStep) {
  EXPECT_FALSE(completion_.StartIfDue(1));
  EXPECT_TRUE(completion_.StartIfDue(2));
  TrainTo(1);
  AddPart(2);
  EXPECT_FALSE(IsReady());  // the step has not ended
  TrainTo(2);
  EXPECT_TRUE(IsReady());
  completion_.End(2, absl::OkStatus(), now_);
  EXPECT_FALSE(IsReady());
  EXPECT_EQ(completion_.progress().step, 2);
  EXPECT_FALSE(completion_.progress().under_way);
}

TEST_F(CheckpointCompletionTest, LastOneIsRetriedAfterASecond) {
  EXPECT_TRUE(completion_.StartIfDue(4));
  TrainTo(4);
  AddPart(4);
  ASSERT_TRUE(IsReady());
  completion_.End(4, absl::UnavailableError("no disk"), now_);
  EXPECT_FALSE(IsReady());
  EXPECT_EQ(completion_.progress().error, "no disk");
  now_ += absl::Seconds(1);
  EXPECT_TRUE(IsReady());
  completion_.End(4, absl::OkStatus(), now_);
  EXPECT_EQ(completion_.progress().error, "");
  EXPECT_EQ(completion_.progress().failures, 1);
}

TEST_F(CheckpointCompletionTest, HoldsWorkersForALimitedTime) {
  EXPECT_FALSE(completion_.holds_workers());
  EXPECT_FALSE(completion_.LetWorkersGo(now_));
  EXPECT_TRUE(completion_.StartIfDue(4));
  EXPECT_TRUE(completion_.holds_workers());
  EXPECT_FALSE(completion_.LetWorkersGo(now_));
  EXPECT_FALSE(completion_.LetWorkersGo(now_ + absl::Seconds(59)));
  EXPECT_TRUE(completion_.LetWorkersGo(now_ + absl::Seconds(60)));
  EXPECT_FALSE(completion_.LetWorkersGo(now_ + absl::Seconds(61)));  // once
  EXPECT_FALSE(completion_.holds_workers());
  EXPECT_TRUE(completion_.progress().under_way);
}

TEST_F(CheckpointCompletionTest, HoldsWorkersForLessTimeAfterAFailure) {
  EXPECT_TRUE(completion_.StartIfDue(4));
  completion_.AddParts(0, {{4, {}, "the disk is full"}});
  EXPECT_FALSE(completion_.LetWorkersGo(now_));
  EXPECT_TRUE(completion_.LetWorkersGo(now_ + absl::Seconds(10)));
}

}  // namespace
}  // namespace percentdelta

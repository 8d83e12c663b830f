// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

Job PlanJob() {
  Job job = SmallJob();
  job.max_steps = 25;
  job.checkpoint = CheckpointSpec{10, "unused", 2};
  return job;
}

CheckpointPart PartOf(int64_t step, const std::string& name) { return {step, {name, 1, "x"}, ""}; }

class CheckpointPlanTest : public testing::Test {
 protected:
  // Adds both parts and ends the checkpoint.
  void Complete(int64_t step) {
    plan_.AddPart(0, PartOf(step, "zero"));
    plan_.AddPart(1, PartOf(step, "one"));
    ASSERT_TRUE(plan_.FindComplete().has_value());
    plan_.End(step, absl::OkStatus());
  }

  const Job job_ = PlanJob();
  CheckpointPlan plan_{job_, 2};
};

TEST_F(CheckpointPlanTest, StartsEveryTenthStepAndTheLast) {
  std::vector<int64_t> started;
  for (int64_t step = 1; step <= 25; ++step) {
    if (!plan_.StartIfDue(step)) continue;
    started.push_back(step);
    Complete(step);
  }
  EXPECT_THAT(started, testing::ElementsAre(10, 20, 25));
  EXPECT_EQ(plan_.newest(), 25);
}

TEST_F(CheckpointPlanTest, StartsNoneForAJobWithoutCheckpoints) {
  Job job = PlanJob();
  job.checkpoint.reset();
  CheckpointPlan plan(job, 2);
  plan.Request();
  for (int64_t step = 1; step <= 25; ++step) EXPECT_FALSE(plan.StartIfDue(step));
}

TEST_F(CheckpointPlanTest, OneAtATimeButTheLastAlways) {
  EXPECT_TRUE(plan_.StartIfDue(10));
  EXPECT_FALSE(plan_.StartIfDue(20));
  EXPECT_TRUE(plan_.StartIfDue(25));
  plan_.AddPart(0, PartOf(25, "zero"));
  plan_.AddPart(1, PartOf(25, "one"));
  EXPECT_EQ(plan_.FindComplete()->step, 25);
  plan_.End(25, absl::OkStatus());
  EXPECT_TRUE(plan_.in_progress());
  Complete(10);
  EXPECT_FALSE(plan_.in_progress());
  EXPECT_EQ(plan_.newest(), 25);
}

TEST_F(CheckpointPlanTest, LastOneIsRetried) {
  const int64_t last = job_.max_steps;
  EXPECT_TRUE(plan_.StartIfDue(last));
  plan_.AddPart(0, {last, {}, "the disk is full"});
  EXPECT_EQ(plan_.failures(), 1);
  EXPECT_EQ(plan_.error(), "the disk is full");
  EXPECT_TRUE(plan_.in_progress());
  Complete(last);
  EXPECT_FALSE(plan_.in_progress());
  EXPECT_EQ(plan_.newest(), last);
  EXPECT_EQ(plan_.error(), "");
}

TEST_F(CheckpointPlanTest, SkippedOnesAreCounted) {
  EXPECT_TRUE(plan_.StartIfDue(10));
  EXPECT_FALSE(plan_.StartIfDue(15));
  EXPECT_EQ(plan_.skipped(), 0);
  EXPECT_FALSE(plan_.StartIfDue(20));
  EXPECT_FALSE(plan_.StartIfDue(30));
  EXPECT_EQ(plan_.skipped(), 2);
  Complete(10);
  EXPECT_TRUE(plan_.StartIfDue(40));
  EXPECT_EQ(plan_.skipped(), 2);
}

TEST_F(CheckpointPlanTest, RequestTakesTheNextStepOnce) {
  plan_.Request();
  EXPECT_TRUE(plan_.StartIfDue(3));
  Complete(3);
  EXPECT_FALSE(plan_.StartIfDue(4));
}

TEST_F(CheckpointPlanTest, RequestWaitsForTheOneInProgress) {
  EXPECT_TRUE(plan_.StartIfDue(10));
  plan_.Request();
  EXPECT_FALSE(plan_.StartIfDue(11));
  Complete(10);
  EXPECT_TRUE(plan_.StartIfDue(12));
}

TEST_F(CheckpointPlanTest, PartsComeInAnyOrderAndMayBeRepeated) {
  EXPECT_TRUE(plan_.StartIfDue(10));
  plan_.AddPart(1, PartOf(10, "one"));
  plan_.AddPart(1, PartOf(10, "again"));
  plan_.AddPart(1, PartOf(9, "of no checkpoint"));
  EXPECT_FALSE(plan_.FindComplete().has_value());
  plan_.AddPart(0, PartOf(10, "zero"));
  const auto complete = plan_.FindComplete();
  ASSERT_TRUE(complete.has_value());
  EXPECT_EQ(complete->files[0].name, "zero");
  EXPECT_EQ(complete->files[1].name, "one");
}

TEST_F(CheckpointPlanTest, FailureIsRememberedUntilTheNextSucceeds) {
  EXPECT_TRUE(plan_.StartIfDue(10));
  plan_.AddPart(0, {10, {}, "the disk is full"});
  EXPECT_FALSE(plan_.in_progress());
  EXPECT_EQ(plan_.failures(), 1);
  EXPECT_EQ(plan_.error(), "the disk is full");
  plan_.AddPart(1, PartOf(10, "one"));  // too late
  EXPECT_FALSE(plan_.FindComplete().has_value());
  EXPECT_TRUE(plan_.StartIfDue(20));
  Complete(20);
  EXPECT_EQ(plan_.failures(), 1);
  EXPECT_EQ(plan_.error(), "");
  EXPECT_EQ(plan_.newest(), 20);
}

TEST_F(CheckpointPlanTest, NewGenerationAbandonsWhatWasInProgress) {
  EXPECT_TRUE(plan_.StartIfDue(20));
  plan_.Begin(10, true);
  EXPECT_FALSE(plan_.in_progress());
  EXPECT_EQ(plan_.newest(), 10);
  EXPECT_TRUE(plan_.StartIfDue(20));
}

TEST(CheckpointPlanShardsTest, ShardsThatOwnNothingWriteNothing) {
  Job job = PlanJob();
  job.model.tensors = {{"only", {3}, ConstantInitializer{1}}};
  CheckpointPlan plan(job, 4);
  EXPECT_TRUE(plan.StartIfDue(10));
  plan.AddPart(0, PartOf(10, "zero"));
  EXPECT_TRUE(plan.FindComplete().has_value());
}

}  // namespace
}  // namespace percentdelta

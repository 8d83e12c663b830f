// SPDX-License-Identifier: Apache-2.0

// What failures lead to, and results without a gradient.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/server/coordinator/lease_table_fixture.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LeaseFailuresTest : public LeaseTableTest {
 protected:
  // Why the worker is suspended; empty: it is not.
  std::string WhySuspended(const std::string& worker) {
    return std::string(roster_.CheckNotSuspended(worker, now_).message());
  }
};

TEST_F(LeaseFailuresTest, FailedWorkGoesToOthersFirst) {
  Start(TrainingJob());
  roster_.See("good", now_);
  Fail(Next("bad"), "cannot", false);
  EXPECT_TRUE(table_->depends_on_worker());
  EXPECT_EQ(NextText("bad"), "train 0.1");  // other work
  EXPECT_EQ(NextText("bad"), "nothing");    // slot 0 is reserved for the other worker
  EXPECT_THAT(table_->DelayReason(), AllOf(HasSubstr("bad"), HasSubstr("cannot")));
  EXPECT_EQ(NextText("good"), "train 0.0");
}

TEST_F(LeaseFailuresTest, WorkerThatFailsAtWhatAnotherCompletesIsSuspended) {
  Start(TrainingJob());
  roster_.See("good", now_);
  Fail(Next("bad"), "cannot", false);
  EXPECT_EQ(WhySuspended("bad"), "");
  Complete(Next("good"));
  EXPECT_THAT(WhySuspended("bad"),
              AllOf(HasSubstr("slot 0 of step 0"), HasSubstr("good"), HasSubstr("cannot")));
  EXPECT_EQ(WhySuspended("good"), "");
  EXPECT_EQ(table_->failure(), "");
  EXPECT_FALSE(table_->depends_on_worker());
}

TEST_F(LeaseFailuresTest, LoneWorkerMayTryThreeTimes) {
  Start(TrainingJob());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(WhySuspended("w"), "");
    Fail(Next(), "cannot", false);
  }
  EXPECT_THAT(WhySuspended("w"), HasSubstr("cannot"));
  EXPECT_EQ(table_->failure(), "");
}

TEST_F(LeaseFailuresTest, WorkThatNoWorkerOfTwoCouldDoFailsTheTraining) {
  Start(TrainingJob());
  roster_.See("b", now_);
  Fail(Next("a"), "the loss is nan", false);
  EXPECT_EQ(table_->failure(), "");
  const Lease second = Next("b");
  EXPECT_EQ(Describe(second), "train 0.0");
  Fail(second, "the loss is nan", false);
  EXPECT_EQ(table_->failure(),
            "slot 0 of step 0 failed on 2 workers (a, b); the last reason: the loss is nan");
  EXPECT_EQ(NextText("a"), "nothing");
}

// The second one comes after the first was suspended.
TEST_F(LeaseFailuresTest, TwoLoneWorkersOneAfterTheOther) {
  Start(TrainingJob());
  for (int i = 0; i < 3; ++i) Fail(Next("a"), "cannot", false);
  Fail(Next("b"), "cannot", false);
  EXPECT_THAT(table_->failure(), HasSubstr("failed on 2 workers (a, b)"));
}

TEST_F(LeaseFailuresTest, AsLongAsAThirdWorkerIsPresentTwoDoNotEndTheTraining) {
  Start(TrainingJob());
  for (const char* worker : {"bad-1", "bad-2", "good"}) roster_.See(worker, now_);
  Fail(Next("bad-1"), "cannot", false);
  Fail(Next("bad-2"), "cannot", false);
  EXPECT_EQ(table_->failure(), "");
  Complete(Next("good"));
  EXPECT_THAT(WhySuspended("bad-1"), HasSubstr("cannot"));
  EXPECT_THAT(WhySuspended("bad-2"), HasSubstr("cannot"));
  EXPECT_EQ(table_->failure(), "");
}

TEST_F(LeaseFailuresTest, EvaluationsFailToo) {
  Start(EvaluatedJob());
  roster_.See("b", now_);
  Fail(Next("a"), "no test data", false);
  Fail(Next("b"), "no test data", false);
  EXPECT_THAT(table_->failure(), HasSubstr("the evaluation of step 0 failed on 2 workers"));
}

TEST_F(LeaseFailuresTest, StepEndsOnlyWhenTheShardsHaveItsGradients) {
  job_ = TrainingJob();
  table_.emplace(job_, LeaseTable::Options{.generation = 9, .deadline = kDeadline}, roster_);
  const Lease first = Next();
  const Lease second = Next();
  Complete(first);
  EXPECT_FALSE(Complete(second).training.has_value());
  EXPECT_EQ(table_->step(), 0);
  EXPECT_EQ(NextText(), "nothing");
  EXPECT_FALSE(table_->Confirm(0).has_value());
  EXPECT_TRUE(table_->Confirm(1).has_value());
  EXPECT_EQ(table_->step(), 1);
  // The shards have the gradients before the results come.
  EXPECT_FALSE(table_->Confirm(2).has_value());
  Complete(Next());
  EXPECT_TRUE(Complete(Next()).training.has_value());
}

TEST_F(LeaseFailuresTest, ResultWithoutAGradientIsTakenBack) {
  job_ = TrainingJob();
  table_.emplace(job_, LeaseTable::Options{.generation = 9, .deadline = kDeadline}, roster_);
  Complete(Next("honest"));
  Complete(Next("liar"));
  EXPECT_THAT(table_->Reopen(0, {1}, now_), IsEmpty());  // the gradient may be on its way
  now_ += absl::Seconds(2);
  EXPECT_THAT(table_->Reopen(1, {0, 1}, now_), IsEmpty());  // of another step
  EXPECT_THAT(table_->Reopen(0, {-1, 2, 1 << 30}, now_), IsEmpty());
  const std::vector<LeaseTable::MissingGradient> missing = table_->Reopen(0, {1}, now_);
  ASSERT_THAT(missing, SizeIs(1));
  EXPECT_EQ(missing[0].slot, 1);
  EXPECT_EQ(missing[0].worker, "liar");
  EXPECT_THAT(WhySuspended("liar"), HasSubstr("slot 1 of step 0 without having pushed"));
  EXPECT_EQ(WhySuspended("honest"), "");
  EXPECT_THAT(table_->Reopen(0, {1}, now_), IsEmpty());  // reported once
  const Lease again = Next("honest");
  EXPECT_EQ(Describe(again), "train 0.1");
  Complete(again);
  EXPECT_TRUE(table_->Confirm(1).has_value());
}

}  // namespace
}  // namespace percentdelta

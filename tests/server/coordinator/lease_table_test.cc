// SPDX-License-Identifier: Apache-2.0

// Which work is issued, which results count, and when a step ends. Time: lease_deadlines_test.cc;
// failures: lease_failures_test.cc.

#include "server/coordinator/lease_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/coordinator/lease_table_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Kind = LeaseTable::Completion::Kind;

TEST_F(LeaseTableTest, IssuesEachSlotOnce) {
  Start(TrainingJob());
  const Lease first = Next();
  const Lease second = Next();
  EXPECT_EQ(Describe(first), "train 0.0");
  EXPECT_EQ(Describe(second), "train 0.1");
  EXPECT_EQ(NextText(), "nothing");
  EXPECT_EQ(first.generation, 9U);
  EXPECT_NE(first.id, second.id);
  EXPECT_EQ(first.deadline, kDeadline);
  EXPECT_EQ(first.batch.batch_index, 0);
  EXPECT_EQ(second.batch.batch_index, 1);
}

TEST_F(LeaseTableTest, StartsAtACheckpoint) {
  job_ = EvaluatedJob();
  Restart({.first_step = 2});
  EXPECT_EQ(NextText(), "evaluate 2@0+4");
  EXPECT_EQ(NextText(), "evaluate 2@4+4");
  EXPECT_EQ(NextText(), "evaluate 2@8+2");
  EXPECT_EQ(table_->oldest_unevaluated(), 2);
  job_.evaluation.reset();
  Restart({.first_step = 2});
  const Lease lease = Next();
  EXPECT_EQ(Describe(lease), "train 2.0");
  EXPECT_EQ(lease.batch, BatchOf(job_, 2, 0));
  Restart({.first_step = 3});
  EXPECT_TRUE(table_->finished());
  job_ = EvaluatedJob();
  Restart({.first_step = 3});
  EXPECT_FALSE(table_->finished());
  Restart({.first_step = 3, .first_evaluated = true});
  EXPECT_TRUE(table_->finished());
}

TEST_F(LeaseTableTest, AsksOnceForEachStepWhetherItBecomesACheckpoint) {
  job_ = TrainingJob();
  std::vector<int64_t> asked;
  Restart({.for_checkpoint = [&](int64_t step) {
    asked.push_back(step);
    return step == 2;
  }});
  for (int step = 0; step < 3; ++step) {
    Fail(Next(), "lost", true);
    const Lease first = Next();  // the same work again
    const Lease second = Next();
    EXPECT_EQ(first.checkpoint, step == 1);
    EXPECT_EQ(second.checkpoint, step == 1);
    Complete(first);
    Complete(second);
  }
  EXPECT_THAT(asked, ElementsAre(1, 2, 3));
}

TEST_F(LeaseTableTest, StepEndsWhenAllItsSlotsAreDone) {
  Start(TrainingJob());
  const Lease first = Next();
  const Lease second = Next();
  LeaseResult result = ResultOf(second);
  result.loss_sum = 8;
  result.correct = 4;
  LeaseTable::Completion completion = Complete(result);
  EXPECT_EQ(completion.kind, Kind::kDone);
  EXPECT_EQ(completion.trained_examples, 4);
  EXPECT_FALSE(completion.training.has_value());
  EXPECT_EQ(table_->step(), 0);
  result = ResultOf(first);
  result.loss_sum = 4;
  result.correct = 2;
  completion = Complete(result);
  ASSERT_TRUE(completion.training.has_value());
  EXPECT_EQ(completion.training->step, 0);
  EXPECT_EQ(completion.training->loss, 1.5);
  EXPECT_EQ(completion.training->accuracy, 0.75);
  EXPECT_EQ(table_->step(), 1);
  EXPECT_EQ(NextText(), "train 1.0");
}

TEST_F(LeaseTableTest, FinishesAfterTheLastStep) {
  Start(TrainingJob());
  for (int i = 0; i < 6; ++i) {
    EXPECT_FALSE(table_->finished());
    Complete(Next());
  }
  EXPECT_TRUE(table_->finished());
  EXPECT_EQ(table_->step(), 3);
  EXPECT_EQ(NextText(), "nothing");
}

TEST_F(LeaseTableTest, EvaluationsGoFirst) {
  Start(EvaluatedJob());
  const Lease first = Next();
  EXPECT_EQ(Describe(first), "evaluate 0@0+4");
  const Lease second = Next();
  EXPECT_EQ(Describe(second), "evaluate 0@4+4");
  const Lease third = Next();
  EXPECT_EQ(Describe(third), "evaluate 0@8+2");
  EXPECT_EQ(NextText(), "train 0.0");

  EXPECT_EQ(Complete(third).trained_examples, 0);
  EXPECT_FALSE(Complete(first).evaluation.has_value());
  const LeaseTable::Completion completion = Complete(second);
  ASSERT_TRUE(completion.evaluation.has_value());
  EXPECT_EQ(completion.evaluation->step, 0);
  EXPECT_EQ(completion.evaluation->loss, 2);
  EXPECT_EQ(completion.evaluation->accuracy, 0.3);  // 3 of 10
}

// Step 1 would publish the weights of step 2, for which the shards would drop those of step 0.
TEST_F(LeaseTableTest, StepThatDropsUnevaluatedWeightsDoesNotStart) {
  Start(EvaluatedJob());
  std::vector<Lease> parts = {Next(), Next(), Next()};
  Complete(Next());
  Complete(Next());
  EXPECT_EQ(table_->step(), 1);
  EXPECT_EQ(NextText(), "nothing");
  Complete(parts[0]);
  Complete(parts[1]);
  EXPECT_EQ(NextText(), "nothing");
  Complete(parts[2]);
  EXPECT_EQ(NextText(), "train 1.0");
}

TEST_F(LeaseTableTest, FinishesAfterTheLastEvaluation) {
  Start(EvaluatedJob());
  std::vector<std::string> work;
  while (const std::optional<Lease> lease = Take("w")) {
    EXPECT_FALSE(table_->finished());
    work.push_back(Describe(lease));
    Complete(*lease);
  }
  EXPECT_TRUE(table_->finished());
  EXPECT_THAT(work, ElementsAre("evaluate 0@0+4", "evaluate 0@4+4", "evaluate 0@8+2", "train 0.0",
                                "train 0.1", "train 1.0", "train 1.1", "evaluate 2@0+4",
                                "evaluate 2@4+4", "evaluate 2@8+2", "train 2.0", "train 2.1",
                                "evaluate 3@0+4", "evaluate 3@4+4", "evaluate 3@8+2"));
}

TEST_F(LeaseTableTest, DuplicatesAreReportedAndHaveNoEffect) {
  Start(TrainingJob());
  const Lease first = Next();
  const Lease second = Next();
  EXPECT_EQ(Complete(first).kind, Kind::kDone);
  const LeaseTable::Completion repeated = Complete(first);
  EXPECT_EQ(repeated.kind, Kind::kDuplicate);
  EXPECT_EQ(repeated.trained_examples, 0);
  EXPECT_EQ(table_->step(), 0);
  Complete(second);
  EXPECT_EQ(Complete(second).kind, Kind::kDuplicate);  // of a past step
  // A failure after the work was done does not count.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Fail(first, "late", false).kind, Kind::kDuplicate);
  EXPECT_EQ(table_->failure(), "");
}

TEST_F(LeaseTableTest, LeaseThatWasNeverIssuedIsRefused) {
  Start(TrainingJob());
  Lease lease = Next();
  const uint64_t given = lease.id;
  for (const uint64_t id : {uint64_t{0}, given + 1, ~uint64_t{0}}) {
    lease.id = id;
    const absl::Status status = table_->Complete(ResultOf(lease), now_).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound,
                                 AllOf(HasSubstr(absl::StrCat("lease ", id)),
                                       HasSubstr(absl::StrCat("expected one of 1..", given)))));
  }
  EXPECT_EQ(table_->step(), 0);
}

TEST_F(LeaseTableTest, ALeaseHasOneHolder) {
  Start(TrainingJob());
  const Lease lease = Next("a");
  EXPECT_OK(table_->CheckHolder(lease.id, "a"));
  EXPECT_THAT(table_->CheckHolder(lease.id, "b"),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("expected the worker that it was given to, got worker b")));
  Complete(lease);
  EXPECT_OK(table_->CheckHolder(lease.id, "b"));  // Complete() drops what comes late
}

TEST_F(LeaseTableTest, CountsThatDoNotFitAreRefused) {
  Start(EvaluatedJob());
  const Lease evaluation = Next();
  Next();
  Next();
  const Lease training = Next();
  for (const Lease& lease : {evaluation, training}) {
    const LeaseResult right = ResultOf(lease);
    std::vector<LeaseResult> wrong(4, right);
    wrong[0].examples = 3;
    wrong[1].examples = 5;
    wrong[2].correct = -1;
    wrong[3].correct = 5;
    for (const LeaseResult& result : wrong) {
      const absl::Status status = table_->Complete(result, now_).status();
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
      EXPECT_EQ(std::string(status.message()),
                absl::StrCat("lease ", lease.id, ": expected 4 examples, got ", result.correct,
                             " correct of ", result.examples));
    }
    EXPECT_EQ(Complete(right).kind, Kind::kDone);  // nothing was lost
  }
}

TEST_F(LeaseTableTest, FailureThatTheWorkerDidNotCauseDoesNotCount) {
  Start(TrainingJob());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Fail(Next(), "shard away", true).kind, Kind::kFailed);
  EXPECT_EQ(table_->failure(), "");
  EXPECT_EQ(NextText(), "train 0.0");
}

TEST_F(LeaseTableTest, BadMetricsLeaveTheWorkToBeDone) {
  Start(TrainingJob());
  const Lease lease = Next();
  LeaseResult bad = ResultOf(lease);
  bad.metrics = {{"a b", 1, 1}};
  EXPECT_THAT(table_->Complete(bad, now_).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(absl::StrCat("lease ", lease.id, ": metrics: name: expected"))));
  // The worker gives up: another one gets the slot, and the training goes on.
  now_ += kDeadline;
  EXPECT_THAT(Expired(), ElementsAre("train 0.0"));
  const Lease again = Next("other");
  EXPECT_EQ(Describe(again), "train 0.0");
  EXPECT_EQ(Complete(again).kind, Kind::kDone);
  EXPECT_EQ(table_->failure(), "");
  // A failed lease's metrics do not matter.
  bad = ResultOf(Next());
  bad.metrics = {{"a b", 1, 1}};
  bad.failure = "why";
  EXPECT_EQ(Complete(bad).kind, Kind::kFailed);
}

TEST_F(LeaseTableTest, MetricsOfASlotCountOnce) {
  Start(TrainingJob());
  const Lease first = Next("slow");
  const Lease second = Next();
  now_ += kDeadline;
  Expired();
  const Lease again = Next("fast");
  EXPECT_EQ(Describe(again), Describe(first));
  const auto result = [&](const Lease& lease, double sum) {
    LeaseResult with = ResultOf(lease);
    with.metrics = {{"m", sum, 2}};
    return with;
  };
  EXPECT_EQ(Complete(result(again, 6)).kind, Kind::kDone);
  EXPECT_EQ(Complete(result(first, 100)).kind, Kind::kDuplicate);
  const std::optional<ProgressPoint> mean = Complete(result(second, 2)).training;
  ASSERT_TRUE(mean.has_value());
  ASSERT_EQ(mean->metrics.size(), 1U);
  EXPECT_EQ(mean->metrics[0].value, 2);
}

}  // namespace
}  // namespace percentdelta

#include "server/lease_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Kind = LeaseTable::Completion::Kind;

constexpr absl::Duration kDeadline = absl::Seconds(10);

// 3 steps of 2 slots, 10 batches an epoch of 40 examples.
Job TrainingJob() {
  Job job = SmallJob();
  job.max_steps = 3;
  return job;
}

// And the 10 test examples every 2 steps, in parts of 4, 4 and 2.
Job EvaluatedJob() {
  Job job = TrainingJob();
  job.evaluation = EvaluationSpec{2, 4};
  return job;
}

// "train 0.1" is slot 1 of step 0, "evaluate 2@4+4" the examples 4..7 at step 2.
std::string Describe(const std::optional<Lease>& lease) {
  if (!lease) return "nothing";
  return lease->kind == Lease::Kind::kTrain
             ? absl::StrCat("train ", lease->step, ".", lease->slot)
             : absl::StrCat("evaluate ", lease->step, "@", lease->first_example, "+",
                            lease->example_count);
}

class LeaseTableTest : public testing::Test {
 protected:
  void Start(const Job& job, absl::Duration deadline = kDeadline) {
    job_ = job;
    table_.emplace(job_, LeaseTable::Options{.generation = 9, .deadline = deadline});
  }

  Lease Next() {
    const std::optional<Lease> lease = table_->Next(now_);
    EXPECT_TRUE(lease.has_value());
    return lease.value_or(Lease());
  }

  std::string NextText() { return Describe(table_->Next(now_)); }

  LeaseResult ResultOf(const Lease& lease) const {
    LeaseResult result;
    result.generation = 9;
    result.lease_id = lease.id;
    result.examples = lease.kind == Lease::Kind::kTrain ? job_.batch_size : lease.example_count;
    result.correct = 1;
    result.loss_sum = 2.0 * static_cast<double>(result.examples);
    return result;
  }

  LeaseTable::Completion Complete(const LeaseResult& result) {
    const auto completion = table_->Complete(result, now_);
    EXPECT_TRUE(completion.ok()) << completion.status();
    return completion.value_or(LeaseTable::Completion());
  }
  LeaseTable::Completion Complete(const Lease& lease) { return Complete(ResultOf(lease)); }

  LeaseTable::Completion Fail(const Lease& lease, const std::string& why, bool not_at_fault) {
    LeaseResult result = ResultOf(lease);
    result.failure = why;
    result.not_at_fault = not_at_fault;
    return Complete(result);
  }

  std::vector<std::string> Expired() {
    std::vector<std::string> expired;
    for (const Lease& lease : table_->Expire(now_)) expired.push_back(Describe(lease));
    return expired;
  }

  absl::Duration now_ = absl::Hours(5);
  Job job_;
  std::optional<LeaseTable> table_;
};

TEST_F(LeaseTableTest, GivesEachSlotOnce) {
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

TEST_F(LeaseTableTest, BeginsWhereACheckpointWas) {
  job_ = EvaluatedJob();
  table_.emplace(job_, LeaseTable::Options{.generation = 9, .first_step = 2});
  EXPECT_EQ(NextText(), "evaluate 2@0+4");
  EXPECT_EQ(NextText(), "evaluate 2@4+4");
  EXPECT_EQ(NextText(), "evaluate 2@8+2");
  EXPECT_EQ(table_->oldest_unevaluated(), 2);
  job_.evaluation.reset();
  table_.emplace(job_, LeaseTable::Options{.generation = 9, .first_step = 2});
  const Lease lease = Next();
  EXPECT_EQ(Describe(lease), "train 2.0");
  EXPECT_EQ(lease.batch, BatchOf(job_, 2, 0));
  table_.emplace(job_, LeaseTable::Options{.generation = 9, .first_step = 3});
  EXPECT_TRUE(table_->finished());
  job_ = EvaluatedJob();
  table_.emplace(job_, LeaseTable::Options{.generation = 9, .first_step = 3});
  EXPECT_FALSE(table_->finished());
  table_.emplace(job_,
                 LeaseTable::Options{.generation = 9, .first_step = 3, .first_evaluated = true});
  EXPECT_TRUE(table_->finished());
}

TEST_F(LeaseTableTest, AsksOnceAStepWhetherItIsKept) {
  job_ = TrainingJob();
  std::vector<int64_t> asked;
  table_.emplace(job_, LeaseTable::Options{.generation = 9, .keeps = [&](int64_t step) {
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

TEST_F(LeaseTableTest, RenewedLeaseLivesOn) {
  Start(TrainingJob());
  const Lease lease = Next();
  Next();
  now_ += kDeadline / 2;
  EXPECT_EQ(*table_->Renew(lease.id, now_), kDeadline);
  now_ += kDeadline / 2;
  EXPECT_THAT(Expired(), ElementsAre("train 0.1"));
  now_ += kDeadline / 2;
  EXPECT_THAT(Expired(), ElementsAre("train 0.0"));
  // Late, but alive.
  EXPECT_TRUE(table_->Renew(lease.id, now_).ok());
  EXPECT_EQ(NextText(), "train 0.1");
  EXPECT_EQ(NextText(), "nothing");
}

TEST_F(LeaseTableTest, RenewalOfDoneWorkIsRefused) {
  Start(TrainingJob());
  const Lease lease = Next();
  Complete(lease);
  EXPECT_TRUE(absl::IsFailedPrecondition(table_->Renew(lease.id, now_).status()));
  EXPECT_TRUE(absl::IsNotFound(table_->Renew(77, now_).status()));
}

TEST_F(LeaseTableTest, IdleWorkerGetsTheSlowestWork) {
  Start(TrainingJob());
  const Lease slow = Next();
  const Lease quick = Next();
  now_ += absl::Seconds(1);
  Complete(quick);  // the pace is a second now
  now_ += absl::Milliseconds(999);
  EXPECT_EQ(NextText(), "nothing");
  now_ += absl::Milliseconds(1);
  const Lease second = Next();
  EXPECT_EQ(Describe(second), "train 0.0");
  EXPECT_NE(second.id, slow.id);
  EXPECT_EQ(NextText(), "nothing");  // two are enough
  EXPECT_EQ(table_->speculative(), 1);
  EXPECT_EQ(Complete(second).kind, Kind::kDone);
  EXPECT_EQ(table_->step(), 1);
  EXPECT_EQ(Complete(slow).kind, Kind::kDuplicate);
}

TEST_F(LeaseTableTest, SecondHolderLosesNothingWhenTheFirstFails) {
  Start(TrainingJob());
  const Lease slow = Next();
  Complete(Next());
  now_ += absl::Seconds(1);
  const Lease second = Next();
  Fail(slow, "gone", true);
  EXPECT_EQ(NextText(), "nothing");  // the second one is at it
  Fail(second, "gone", true);
  EXPECT_EQ(NextText(), "train 0.0");
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

// Step 1 would publish the weights of step 2, and those of step 0 would be forgotten for them.
TEST_F(LeaseTableTest, StepThatForgetsUnevaluatedWeightsIsNotBegun) {
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
  while (const std::optional<Lease> lease = table_->Next(now_)) {
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

TEST_F(LeaseTableTest, ExpiredWorkIsGivenAgain) {
  Start(TrainingJob());
  const Lease lost = Next();
  now_ += absl::Seconds(3);
  const Lease kept = Next();
  now_ = now_ + kDeadline - absl::Seconds(3) - absl::Nanoseconds(1);
  EXPECT_THAT(Expired(), IsEmpty());
  now_ += absl::Nanoseconds(1);
  EXPECT_THAT(Expired(), ElementsAre("train 0.0"));
  EXPECT_THAT(Expired(), IsEmpty());  // once
  const Lease again = Next();
  EXPECT_EQ(Describe(again), "train 0.0");
  EXPECT_NE(again.id, lost.id);
  EXPECT_EQ(again.batch.batch_index, lost.batch.batch_index);
  EXPECT_EQ(NextText(), "nothing");
  Complete(kept);
  EXPECT_EQ(Complete(again).kind, Kind::kDone);
  EXPECT_EQ(table_->step(), 1);
}

TEST_F(LeaseTableTest, ExpiredEvaluationIsGivenAgain) {
  Start(EvaluatedJob());
  Next();
  now_ += kDeadline;
  EXPECT_THAT(Expired(), ElementsAre("evaluate 0@0+4"));
  EXPECT_EQ(NextText(), "evaluate 0@0+4");
}

// It was slow, not dead: whoever comes first has done the work.
TEST_F(LeaseTableTest, LateResultOfAnExpiredLeaseCounts) {
  Start(TrainingJob());
  const Lease late = Next();
  Complete(Next());
  now_ += kDeadline;
  ASSERT_THAT(Expired(), SizeIs(1));
  const Lease again = Next();
  const LeaseTable::Completion completion = Complete(late);
  EXPECT_EQ(completion.kind, Kind::kDone);
  EXPECT_TRUE(completion.training.has_value());
  EXPECT_EQ(table_->step(), 1);
  EXPECT_EQ(Complete(again).kind, Kind::kDuplicate);
  EXPECT_EQ(table_->step(), 1);
  EXPECT_EQ(NextText(), "train 1.0");
}

TEST_F(LeaseTableTest, LateResultCountsBeforeTheWorkIsGivenAgain) {
  Start(TrainingJob());
  const Lease late = Next();
  now_ += kDeadline;
  ASSERT_THAT(Expired(), SizeIs(1));
  EXPECT_EQ(Complete(late).kind, Kind::kDone);
  EXPECT_EQ(NextText(), "train 0.1");
}

TEST_F(LeaseTableTest, DuplicatesAreToldAndChangeNothing) {
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
  // A failure after the deed is no failure.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Fail(first, "late", false).kind, Kind::kDuplicate);
  EXPECT_EQ(table_->failure(), "");
}

TEST_F(LeaseTableTest, LeaseThatWasNeverGivenIsRefused) {
  Start(TrainingJob());
  Lease lease = Next();
  const uint64_t given = lease.id;
  for (const uint64_t id : {uint64_t{0}, given + 1, ~uint64_t{0}}) {
    lease.id = id;
    const absl::Status status = table_->Complete(ResultOf(lease), now_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(absl::StrCat("lease ", id)),
                      HasSubstr(absl::StrCat("expected one of 1..", given))));
  }
  EXPECT_EQ(table_->step(), 0);
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
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(std::string(status.message()),
                absl::StrCat("lease ", lease.id, ": expected 4 examples, got ", result.correct,
                             " correct of ", result.examples));
    }
    EXPECT_EQ(Complete(right).kind, Kind::kDone);  // nothing was lost
  }
}

TEST_F(LeaseTableTest, ThirdFailureOfTheSameWorkIsTheEnd) {
  Start(TrainingJob());
  EXPECT_EQ(Fail(Next(), "first", false).kind, Kind::kFailed);
  Fail(Next(), "second", false);  // it was given again
  EXPECT_EQ(table_->failure(), "");
  const Lease third = Next();
  const Lease other = Next();
  EXPECT_EQ(Describe(other), "train 0.1");
  Fail(other, "another's", false);
  EXPECT_EQ(table_->failure(), "");
  Fail(third, "NaN", false);
  EXPECT_EQ(table_->failure(), "slot 0 of step 0 failed 3 times; the last: NaN");
  EXPECT_EQ(NextText(), "nothing");
}

TEST_F(LeaseTableTest, EvaluationsFailToo) {
  Start(EvaluatedJob());
  for (int i = 0; i < 3; ++i) Fail(Next(), "no test data", false);
  EXPECT_EQ(table_->failure(), "the evaluation of step 0 failed 3 times; the last: no test data");
}

TEST_F(LeaseTableTest, WhatIsNobodysFaultDoesNotCount) {
  Start(TrainingJob());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Fail(Next(), "shard away", true).kind, Kind::kFailed);
  EXPECT_EQ(table_->failure(), "");
  EXPECT_EQ(NextText(), "train 0.0");
}

// The failure of one whose lease has expired does not take the work from its new holder.
TEST_F(LeaseTableTest, LateFailureLeavesTheNewHolderAlone) {
  Start(TrainingJob());
  const Lease late = Next();
  now_ += kDeadline;
  ASSERT_THAT(Expired(), SizeIs(1));
  const Lease again = Next();
  EXPECT_EQ(Fail(late, "slow", true).kind, Kind::kFailed);
  EXPECT_EQ(NextText(), "train 0.1");
  EXPECT_EQ(Complete(again).kind, Kind::kDone);
}

// Zero: derived from the pace. Five times the longest of the last 32, within 2 s .. 10 min.
TEST_F(LeaseTableTest, DeadlineIsDerivedFromThePace) {
  struct Row {
    std::vector<absl::Duration> leases;
    absl::Duration deadline;
  };
  std::vector<absl::Duration> long_ago(33, absl::Seconds(1));
  long_ago[0] = absl::Seconds(100);
  std::vector<absl::Duration> just_remembered(32, absl::Seconds(1));
  just_remembered[0] = absl::Seconds(50);
  const std::vector<Row> rows = {
      {{}, absl::Seconds(60)},
      {{absl::ZeroDuration()}, absl::Seconds(2)},
      {{absl::Milliseconds(400)}, absl::Seconds(2)},
      {{absl::Milliseconds(401)}, absl::Milliseconds(2005)},
      {{absl::Seconds(3)}, absl::Seconds(15)},
      {{absl::Seconds(3), absl::Seconds(7), absl::Seconds(1)}, absl::Seconds(35)},
      {{absl::Minutes(2)}, absl::Minutes(10)},
      {{absl::Hours(2)}, absl::Minutes(10)},
      {just_remembered, absl::Seconds(250)},
      {long_ago, absl::Seconds(5)},
  };
  Job job = TrainingJob();
  job.max_steps = 100;
  for (size_t row = 0; row < rows.size(); ++row) {
    Start(job, absl::ZeroDuration());
    for (const absl::Duration duration : rows[row].leases) {
      const Lease lease = Next();
      now_ += duration;
      Complete(lease);
    }
    EXPECT_EQ(Next().deadline, rows[row].deadline) << "row " << row;
  }
}

TEST_F(LeaseTableTest, EachKindHasItsPace) {
  Start(EvaluatedJob(), absl::ZeroDuration());
  const Lease evaluation = Next();
  now_ += absl::Seconds(4);
  Complete(evaluation);
  EXPECT_EQ(Next().deadline, absl::Seconds(20));
  Next();
  const Lease training = Next();
  EXPECT_EQ(Describe(training), "train 0.0");
  EXPECT_EQ(training.deadline, absl::Seconds(60));
  now_ += absl::Seconds(8);
  Complete(training);
  EXPECT_EQ(Next().deadline, absl::Seconds(40));
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// How leases depend on time: they expire, are renewed, and are issued a second time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "server/coordinator/lease_table.h"
#include "tests/server/coordinator/lease_table_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Kind = LeaseTable::Completion::Kind;

using LeaseDeadlinesTest = LeaseTableTest;

TEST_F(LeaseDeadlinesTest, RenewedLeaseLivesOn) {
  Start(TrainingJob());
  const Lease lease = Next();
  Next();
  now_ += kDeadline / 2;
  EXPECT_EQ(*table_->Renew(lease.id, now_), kDeadline);
  now_ += kDeadline / 2;
  EXPECT_THAT(Expired(), ElementsAre("train 0.1"));
  now_ += kDeadline / 2;
  EXPECT_THAT(Expired(), ElementsAre("train 0.0"));
  // The holder is late, but alive.
  EXPECT_OK(table_->Renew(lease.id, now_));
  EXPECT_EQ(NextText(), "train 0.1");
  EXPECT_EQ(NextText(), "nothing");
}

TEST_F(LeaseDeadlinesTest, RenewalOfDoneWorkIsRefused) {
  Start(TrainingJob());
  const Lease lease = Next();
  Complete(lease);
  EXPECT_THAT(table_->Renew(lease.id, now_), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(table_->Renew(77, now_), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(LeaseDeadlinesTest, IdleWorkerGetsTheSlowestWork) {
  Start(TrainingJob());
  const Lease slow = Next();
  const Lease quick = Next();
  now_ += absl::Seconds(1);
  Complete(quick);  // the longest lease took a second
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

TEST_F(LeaseDeadlinesTest, SecondHolderLosesNothingWhenTheFirstFails) {
  Start(TrainingJob());
  const Lease slow = Next();
  Complete(Next());
  now_ += absl::Seconds(1);
  const Lease second = Next();
  Fail(slow, "gone", true);
  EXPECT_EQ(NextText(), "nothing");  // the second holder works on it
  Fail(second, "gone", true);
  EXPECT_EQ(NextText(), "train 0.0");
}

TEST_F(LeaseDeadlinesTest, ExpiredWorkIsIssuedAgain) {
  Start(TrainingJob());
  const Lease lost = Next();
  now_ += absl::Seconds(3);
  const Lease other = Next();
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
  Complete(other);
  EXPECT_EQ(Complete(again).kind, Kind::kDone);
  EXPECT_EQ(table_->step(), 1);
}

TEST_F(LeaseDeadlinesTest, ExpiredEvaluationIsIssuedAgain) {
  Start(EvaluatedJob());
  Next();
  now_ += kDeadline;
  EXPECT_THAT(Expired(), ElementsAre("evaluate 0@0+4"));
  EXPECT_EQ(NextText(), "evaluate 0@0+4");
}

// The holder was slow, not dead: the first result counts.
TEST_F(LeaseDeadlinesTest, LateResultOfAnExpiredLeaseCounts) {
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

TEST_F(LeaseDeadlinesTest, LateResultCountsBeforeTheWorkIsIssuedAgain) {
  Start(TrainingJob());
  const Lease late = Next();
  now_ += kDeadline;
  ASSERT_THAT(Expired(), SizeIs(1));
  EXPECT_EQ(Complete(late).kind, Kind::kDone);
  EXPECT_EQ(NextText(), "train 0.1");
}

// The failure of a worker whose lease has expired does not affect the new holder.
TEST_F(LeaseDeadlinesTest, LateFailureLeavesTheNewHolderAlone) {
  Start(TrainingJob());
  const Lease late = Next();
  now_ += kDeadline;
  ASSERT_THAT(Expired(), SizeIs(1));
  const Lease again = Next();
  EXPECT_EQ(Fail(late, "slow", true).kind, Kind::kFailed);
  EXPECT_EQ(NextText(), "train 0.1");
  EXPECT_EQ(Complete(again).kind, Kind::kDone);
}

// Deadline zero: derived from the longest of the last 32 leases.
TEST_F(LeaseDeadlinesTest, DeadlineIsDerivedFromRecentLeases) {
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

TEST_F(LeaseDeadlinesTest, EachKindHasItsOwnDeadline) {
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

// SPDX-License-Identifier: Apache-2.0

// Which workers the coordinator refuses, suspends and does not trust.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class CoordinatorWorkersTest : public CoordinatorTest {
 protected:
  // The answer to a call that does not wait.
  absl::Status AcquireStatus(const WorkerIdentity& worker) {
    Answers answers;
    Acquire(answers, absl::ZeroDuration(), worker);
    EXPECT_THAT(answers, SizeIs(1));
    return answers.at(0).status();
  }

  Lease Fail(const Lease& lease, const std::string& worker, const std::string& why) {
    LeaseResult result = ResultOf(lease, worker);
    result.failure = why;
    return Report(result);
  }

  // Sends the heartbeat of a shard that has the gradients of `steps` steps and lacks the slots
  // `missing` of the next step.
  void Hold(int32_t shard, int64_t steps, const std::vector<int32_t>& missing) {
    ShardBeat beat = {shard, 2, coordinator_.job_hash(), absl::StrCat("host", shard, ":1"), 100, 5};
    beat.gathered_steps = steps;
    beat.missing_slots = missing;
    EXPECT_OK(coordinator_.Heartbeat(beat));
  }
};

TEST_F(CoordinatorWorkersTest, ReportsOnLeasesOfOthersChangeNothing) {
  Open();
  const Lease lease = AcquireNow("owner");
  const auto refused = StatusIs(absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(coordinator_.Complete(ResultOf(lease, "thief")), refused);
  EXPECT_THAT(coordinator_.Renew(lease.generation, lease.id, "thief"), refused);
  EXPECT_EQ(coordinator_.GetProgress(0).workers, 1);
  EXPECT_OK(coordinator_.Renew(lease.generation, lease.id, "owner"));
  Report(ResultOf(lease, "owner"));
}

TEST_F(CoordinatorWorkersTest, MustComputeAlike) {
  Open();
  Answers& first = NewAnswers();
  Answers& other = NewAnswers();
  Acquire(first, absl::ZeroDuration(), {"w1", "avx2"});
  Acquire(other, absl::Seconds(1), {"w2", "sse4"});
  EXPECT_EQ(coordinator_.GetProgress(0).arithmetic, "avx2");
  EXPECT_THAT(other, IsEmpty());  // the first worker may not compute at all
  Complete(ResultOf(*first.at(0), "w1"));
  ASSERT_THAT(other, SizeIs(1));
  EXPECT_THAT(other[0], StatusIs(absl::StatusCode::kFailedPrecondition,
                                 AllOf(HasSubstr("w2"), HasSubstr("expected arithmetic avx2"),
                                       HasSubstr("got sse4"))));
  EXPECT_EQ(coordinator_.GetProgress(0).arithmetic, "avx2");
  EXPECT_THAT(AcquireStatus({"w3", "sse4"}), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// One call before the first worker's used to exclude all others.
TEST_F(CoordinatorWorkersTest, WorkersThatComputeNothingExcludeNobody) {
  Open();
  Acquire(NewAnswers(), absl::ZeroDuration(), {"idle", "made-up", "no data"});
  PassTime(kLeaseDeadline);
  Answers& honest = NewAnswers();
  Acquire(honest, absl::ZeroDuration(), {"honest", "avx2", "aaaa"});
  ASSERT_EQ(honest.at(0)->kind, Kind::kTrain);
  Complete(ResultOf(*honest[0], "honest"));
  // What the first one pushed, if it did, might be among the gradients: the step is done again.
  EXPECT_EQ(coordinator_.GetProgress(0).state, TrainingState::kGathering);
  Open(6);
  EXPECT_EQ(coordinator_.GetProgress(0).arithmetic, "avx2");
  EXPECT_EQ(coordinator_.GetProgress(0).data, "aaaa");
  EXPECT_EQ(coordinator_.GetProgress(0).step, 0);
  EXPECT_THAT(AcquireStatus({"idle", "made-up", "no data"}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  Answers& again = NewAnswers();
  Acquire(again, absl::ZeroDuration(), {"honest", "avx2", "aaaa"});
  EXPECT_EQ(again.at(0)->step, 0);
  EXPECT_EQ(Complete(ResultOf(*again[0], "honest")).step, 1);
  EXPECT_EQ(coordinator_.GetProgress(0).state, TrainingState::kTraining);
}

// Reports alone decide nothing: only gradients that the shards have.
TEST_F(CoordinatorWorkersTest, MadeUpResultsExcludeNobody) {
  Open();
  Answers& liar = NewAnswers();
  Acquire(liar, absl::ZeroDuration(), {"liar", "made-up"});
  Report(ResultOf(*liar.at(0), "liar"));
  clock_.Advance(absl::Seconds(2));
  Hold(1, 0, {0});
  EXPECT_EQ(AcquireNow("honest").kind, Kind::kTrain);
}

// A data set with the same number and size of examples, but other examples.
TEST_F(CoordinatorWorkersTest, MustComputeFromTheSameData) {
  Open();
  EXPECT_OK(AcquireStatus({"silent", "avx2"}));
  Answers& first = NewAnswers();
  PassTime(kLeaseDeadline);
  Acquire(first, absl::ZeroDuration(), {"first", "avx2", "aaaa"});
  EXPECT_EQ(Complete(ResultOf(*first.at(0), "first")).step, 1);
  EXPECT_OK(AcquireStatus({"second", "avx2", "aaaa"}));
  EXPECT_OK(AcquireStatus({"silent", "avx2"}));
  const absl::Status refused = AcquireStatus({"other", "avx2", "bbbb"});
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                AllOf(HasSubstr("other"), HasSubstr("aaaa"), HasSubstr("bbbb"),
                                      HasSubstr("--data"))));
  EXPECT_EQ(coordinator_.GetProgress(0).data, "aaaa");
}

TEST_F(CoordinatorWorkersTest, NamesAreChecked) {
  Open();
  for (const std::string& bad : {std::string(1 << 20, 'x'), std::string("a\nforged line"),
                                 std::string("\x1b[2J"), std::string("\xff")}) {
    for (const WorkerIdentity& worker :
         {WorkerIdentity{bad, "avx2", "d"}, {"w", bad, "d"}, {"w", "avx2", bad}}) {
      const absl::Status status = AcquireStatus(worker);
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
      EXPECT_LT(status.message().size(), 1000U);
    }
  }
  EXPECT_EQ(coordinator_.GetProgress(0).arithmetic, "");
  EXPECT_EQ(coordinator_.GetProgress(0).workers, 0);
}

// Names come with reports, too.
TEST_F(CoordinatorWorkersTest, NamesOfReportsAreChecked) {
  Open();
  const Lease lease = AcquireNow("w");
  const std::string bad(1 << 20, 'x');
  for (const uint64_t id : {lease.id, uint64_t{0}, uint64_t{77}}) {
    LeaseResult result = ResultOf(lease, bad);
    result.lease_id = id;
    const absl::Status status = coordinator_.Complete(result).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("worker: expected at most 128 bytes, got 1048576")));
    EXPECT_THAT(coordinator_.Renew(lease.generation, id, bad),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_EQ(coordinator_.GetProgress(0).workers, 1);
}

TEST_F(CoordinatorWorkersTest, SingleFailingWorkerDoesNotEndTheTraining) {
  Open();
  Answers& good = NewAnswers();
  const Lease lease = AcquireNow("bad");
  Acquire(good, absl::Seconds(20), {"good", "avx2"});
  EXPECT_EQ(Fail(lease, "bad", "cannot").kind, Kind::kWait);
  ASSERT_THAT(good, SizeIs(1));  // the same work
  EXPECT_EQ(good[0]->slot, lease.slot);
  Complete(ResultOf(*good[0], "good"));
  const absl::Status away = AcquireStatus({"bad", "avx2"});
  EXPECT_THAT(away, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("cannot")));
  EXPECT_EQ(coordinator_.GetProgress(0).state, TrainingState::kTraining);
  EXPECT_EQ(coordinator_.GetProgress(0).failed_leases, 1);
}

TEST_F(CoordinatorWorkersTest, LoneWorkerIsSuspendedAndProgressSaysWhy) {
  Open();
  Lease lease = AcquireNow("bad");
  for (int i = 0; i < 3; ++i) lease = Fail(lease, "bad", "cannot");
  EXPECT_EQ(lease.kind, Kind::kWait);
  EXPECT_THAT(AcquireStatus({"bad", "avx2"}), Not(IsOk()));
  const Progress progress = coordinator_.GetProgress(0);
  EXPECT_EQ(progress.state, TrainingState::kTraining);
  EXPECT_THAT(progress.message, AllOf(HasSubstr("slot"), HasSubstr("bad"), HasSubstr("cannot")));
}

TEST_F(CoordinatorWorkersTest, WorkThatTwoCouldNotDoFailsTheTraining) {
  Open();
  Answers& waiting = NewAnswers();
  const Lease first = AcquireNow("a");
  Acquire(waiting, absl::Seconds(20), {"b", "avx2"});
  Fail(first, "a", "the loss is nan");
  const Lease last = Fail(*waiting.at(0), "b", "the loss is nan");
  EXPECT_EQ(last.kind, Kind::kFailed);
  EXPECT_EQ(last.message,
            "slot 0 of step 0 failed on 2 workers (a, b); the last reason: the loss is nan");
  EXPECT_EQ(AcquireNow("c").kind, Kind::kFailed);
  const Progress progress = coordinator_.GetProgress(0);
  EXPECT_EQ(progress.state, TrainingState::kFailed);
  EXPECT_EQ(progress.message, last.message);
  EXPECT_EQ(progress.failed_leases, 2);
  coordinator_.Tick();
  EXPECT_EQ(coordinator_.statistics().ended(),
            absl::AbortedError(absl::StrCat("the training failed: ", last.message)));
}

// A worker's report is not enough: a step ends when the shards have its gradients.
TEST_F(CoordinatorWorkersTest, StepIsDoneWhenTheShardsSaySo) {
  Open();
  const Lease lease = AcquireNow();
  EXPECT_EQ(Report(ResultOf(lease)).kind, Kind::kWait);
  EXPECT_EQ(coordinator_.GetProgress(0).step, 0);
  Answers& waiting = NewAnswers();
  Acquire(waiting);
  coordinator_.Gathered(5, 0, 1);
  EXPECT_EQ(coordinator_.GetProgress(0).step, 0);
  coordinator_.Gathered(4, 1, 1);  // of another generation
  EXPECT_EQ(coordinator_.GetProgress(0).step, 0);
  Hold(1, 1, {0});
  EXPECT_EQ(coordinator_.GetProgress(0).step, 1);
  ASSERT_THAT(waiting, SizeIs(1));
  EXPECT_EQ(waiting[0]->step, 1);
  EXPECT_THAT(coordinator_.GetProgress(0).training, SizeIs(1));
}

TEST_F(CoordinatorWorkersTest, SlotWithoutAGradientIsGivenOutAgain) {
  Open();
  const Lease lease = AcquireNow("liar");
  coordinator_.Gathered(5, 0, 1);
  Report(ResultOf(lease, "liar"));
  Hold(1, 0, {0});  // the gradient may still be on its way
  EXPECT_EQ(AcquireNow("honest").kind, Kind::kWait);
  clock_.Advance(absl::Seconds(2));
  Answers& waiting = NewAnswers();
  Acquire(waiting, absl::Seconds(20), {"honest", "avx2"});
  Hold(1, 0, {0});
  ASSERT_THAT(waiting, SizeIs(1));
  EXPECT_EQ(waiting[0]->step, 0);
  EXPECT_THAT(std::string(AcquireStatus({"liar", "avx2"}).message()),
              HasSubstr("without having pushed its gradient"));
  EXPECT_EQ(Complete(ResultOf(*waiting[0], "honest")).step, 1);
  EXPECT_EQ(coordinator_.GetProgress(0).state, TrainingState::kTraining);
}

// A hundred results without gradients do not end a step.
TEST_F(CoordinatorWorkersTest, ReportsAloneFinishNothing) {
  Open();
  for (int i = 0; i < 100; ++i) {
    const Lease lease = AcquireNow();
    if (lease.kind == Kind::kTrain) Report(ResultOf(lease));
    PassTime(absl::Seconds(1));
  }
  EXPECT_EQ(coordinator_.GetProgress(0).step, 0);
}

}  // namespace
}  // namespace percentdelta

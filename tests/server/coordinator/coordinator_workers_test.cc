// What the coordinator believes of its workers, and whom it sends away.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/server/coordinator/coordinator_fixture.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class CoordinatorWorkersTest : public CoordinatorTest {
 protected:
  // What a call with these words is answered at once.
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

  // A beat of a shard that has the gradients of `steps` steps and lacks `missing` of the next.
  void Hold(int32_t shard, int64_t steps, const std::vector<int32_t>& missing) {
    ShardBeat beat = {shard, 2, coordinator_.job_hash(), absl::StrCat("host", shard, ":1"), 100, 5};
    beat.gathered_steps = steps;
    beat.missing_slots = missing;
    EXPECT_TRUE(coordinator_.Heartbeat(beat).ok());
  }
};

TEST_F(CoordinatorWorkersTest, MustComputeAlike) {
  Open();
  Answers& first = NewAnswers();
  Answers& other = NewAnswers();
  Acquire(first, absl::ZeroDuration(), {"w1", "avx2"});
  Acquire(other, absl::Seconds(1), {"w2", "sse4"});
  ASSERT_THAT(other, SizeIs(1));
  EXPECT_EQ(other[0].status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other[0].status().message()),
              AllOf(HasSubstr("w2"), HasSubstr("expected arithmetic avx2"), HasSubstr("got sse4")));
  EXPECT_EQ(coordinator_.GetProgress(0).arithmetic, "avx2");
  EXPECT_EQ(coordinator_.GetProgress(0).workers, 1);
}

// As many examples, of the same size, but others.
TEST_F(CoordinatorWorkersTest, MustComputeFromTheSameData) {
  Open();
  EXPECT_TRUE(AcquireStatus({"silent", "avx2"}).ok());
  EXPECT_TRUE(AcquireStatus({"first", "avx2", "aaaa"}).ok());
  EXPECT_TRUE(AcquireStatus({"second", "avx2", "aaaa"}).ok());
  EXPECT_TRUE(AcquireStatus({"silent", "avx2"}).ok());
  const absl::Status refused = AcquireStatus({"other", "avx2", "bbbb"});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("other"), HasSubstr("aaaa"), HasSubstr("bbbb"), HasSubstr("--data")));
  EXPECT_EQ(coordinator_.GetProgress(0).data, "aaaa");
}

TEST_F(CoordinatorWorkersTest, NamesAreCheckedAtTheDoor) {
  Open();
  for (const std::string& bad : {std::string(1 << 20, 'x'), std::string("a\nforged line"),
                                 std::string("\x1b[2J"), std::string("\xff")}) {
    for (const WorkerIdentity& worker :
         {WorkerIdentity{bad, "avx2", "d"}, {"w", bad, "d"}, {"w", "avx2", bad}}) {
      const absl::Status status = AcquireStatus(worker);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_LT(status.message().size(), 1000U);
    }
  }
  EXPECT_EQ(coordinator_.GetProgress(0).arithmetic, "");
  EXPECT_EQ(coordinator_.GetProgress(0).workers, 0);
}

TEST_F(CoordinatorWorkersTest, OneThatFailsAloneDoesNotEndTheTraining) {
  Open();
  Answers& good = NewAnswers();
  const Lease lease = AcquireNow("bad");
  Acquire(good, absl::Seconds(20), {"good", "avx2"});
  EXPECT_EQ(Fail(lease, "bad", "cannot").kind, Kind::kWait);
  ASSERT_THAT(good, SizeIs(1));  // the same work
  EXPECT_EQ(good[0]->slot, lease.slot);
  Complete(ResultOf(*good[0], "good"));
  const absl::Status away = AcquireStatus({"bad", "avx2"});
  EXPECT_EQ(away.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(away.message()), HasSubstr("cannot"));
  EXPECT_EQ(coordinator_.GetProgress(0).state, TrainingState::kTraining);
  EXPECT_EQ(coordinator_.GetProgress(0).failed_leases, 1);
}

TEST_F(CoordinatorWorkersTest, ALoneOneIsSentAwayAndProgressSaysWhy) {
  Open();
  Lease lease = AcquireNow("bad");
  for (int i = 0; i < 3; ++i) lease = Fail(lease, "bad", "cannot");
  EXPECT_EQ(lease.kind, Kind::kWait);
  EXPECT_FALSE(AcquireStatus({"bad", "avx2"}).ok());
  const Progress progress = coordinator_.GetProgress(0);
  EXPECT_EQ(progress.state, TrainingState::kTraining);
  EXPECT_THAT(progress.message, AllOf(HasSubstr("slot"), HasSubstr("bad"), HasSubstr("cannot")));
}

TEST_F(CoordinatorWorkersTest, WhatTwoCouldNotDoEndsTheTrainingForAll) {
  Open();
  Answers& waiting = NewAnswers();
  const Lease first = AcquireNow("a");
  Acquire(waiting, absl::Seconds(20), {"b", "avx2"});
  Fail(first, "a", "the loss is nan");
  const Lease last = Fail(*waiting.at(0), "b", "the loss is nan");
  EXPECT_EQ(last.kind, Kind::kFailed);
  EXPECT_EQ(last.message,
            "slot 0 of step 0 failed at 2 workers (a, b); the last reason: the loss is nan");
  EXPECT_EQ(AcquireNow("c").kind, Kind::kFailed);
  const Progress progress = coordinator_.GetProgress(0);
  EXPECT_EQ(progress.state, TrainingState::kFailed);
  EXPECT_EQ(progress.message, last.message);
  EXPECT_EQ(progress.failed_leases, 2);
  coordinator_.Tick();
  EXPECT_EQ(coordinator_.statistics().ended(),
            absl::AbortedError(absl::StrCat("the training failed: ", last.message)));
}

// A worker's word is not enough: the step is the shards'.
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
  Hold(1, 0, {0});  // not yet a reason to doubt
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

// Hundreds of results without gradients: nothing is finished by them.
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

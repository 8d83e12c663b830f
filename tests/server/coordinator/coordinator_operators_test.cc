// SPDX-License-Identifier: Apache-2.0

// Pause, resume and drain of a coordinator, with what its shards and workers do.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/cluster/activity.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/operator_requests.h"
#include "tests/server/coordinator/checkpoints_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Kind = Lease::Kind;

class CoordinatorOperatorsTest : public CoordinatorCheckpointsTest {
 protected:
  Lease NextOf(const std::string& worker) {
    Lease lease;
    coordinator_->Acquire({worker, arithmetic_}, absl::ZeroDuration(),
                          [&](const absl::StatusOr<Lease>& answer) { lease = *answer; });
    return lease;
  }

  void PassTime(absl::Duration by) {
    clock_.Advance(by);
    coordinator_->Tick();
    coordinator_->WorkOnCheckpoints();
  }

  // Whether the shard's heartbeat is answered with the end.
  bool MayEnd(int32_t shard, uint64_t generation) {
    return Beat(shard, incarnation_, generation).drained;
  }

  // "step kind: text" of the events about what operators asked for.
  std::vector<std::string> OperatorEvents() {
    std::vector<std::string> found;
    for (const ClusterEvent& event : coordinator_->EventsAfter(0)) {
      if (event.kind == ClusterEvent::Kind::kPause || event.kind == ClusterEvent::Kind::kResume ||
          event.kind == ClusterEvent::Kind::kDrain) {
        found.push_back(absl::StrCat(event.step, " ", ToString(event.kind), ": ", event.text));
      }
    }
    return found;
  }

  // Drains while the first lease of step 0 is given out; the checkpoint is of step 2, since that of
  // step 1 was not requested before.
  uint64_t DrainAtStep2() {
    const uint64_t generation = Open().generation;
    const Lease first = Next();
    EXPECT_EQ(*coordinator_->Drain(), 1);
    EXPECT_EQ(Status().state, TrainingState::kDraining);
    const Lease second = Train(first);
    EXPECT_TRUE(second.checkpoint);
    EXPECT_EQ(Train(second).kind, Kind::kWait);
    EXPECT_EQ(Status().step, 2);
    return generation;
  }
};

TEST_F(CoordinatorOperatorsTest, PauseGivesOutNoLeases) {
  Open();
  const Lease lease = Next();
  EXPECT_OK(coordinator_->Pause());
  EXPECT_OK(coordinator_->Pause());
  EXPECT_EQ(Next().kind, Kind::kWait);
  EXPECT_EQ(Status().state, TrainingState::kPaused);
  EXPECT_THAT(Status().message, HasSubstr("1 leases in progress; pdctl resume"));
  EXPECT_EQ(Train(lease).kind, Kind::kWait);  // what is in progress finishes
  EXPECT_EQ(Status().step, 1);
  EXPECT_THAT(Status().message, HasSubstr("0 leases in progress"));
  EXPECT_OK(coordinator_->Resume());
  EXPECT_OK(coordinator_->Resume());
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  EXPECT_EQ(Next().step, 1);
}

TEST_F(CoordinatorOperatorsTest, PausesAndDrainsAreEvents) {
  const uint64_t generation = Open().generation;
  EXPECT_OK(coordinator_->Resume());
  EXPECT_THAT(OperatorEvents(), IsEmpty());
  const Lease first = Next();
  EXPECT_OK(coordinator_->Pause());
  EXPECT_OK(coordinator_->Pause());
  Train(first);
  EXPECT_OK(coordinator_->Resume());
  EXPECT_OK(coordinator_->Resume());
  EXPECT_OK(coordinator_->Drain());
  EXPECT_OK(coordinator_->Drain());
  EXPECT_OK(coordinator_->Resume());
  const Lease second = Next();
  EXPECT_OK(coordinator_->Drain());
  Train(second);
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kDrained);
  const std::string drain =
      "drain: an operator drains the cluster: it ends after its next checkpoint";
  EXPECT_THAT(OperatorEvents(),
              ElementsAre("0 pause: paused by an operator", "1 resume: resumed by an operator",
                          "1 " + drain, "1 resume: resumed by an operator: the drain is abandoned",
                          "1 " + drain,
                          "2 drain: drained: the checkpoint of step 2 is complete; workers and "
                          "servers end"));
}

TEST_F(CoordinatorOperatorsTest, PauseDoesNotHoldUpACheckpointInProgress) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  EXPECT_OK(coordinator_->Pause());
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
  EXPECT_THAT(coordinator_->TakeCheckpoint(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("one that is paused")));
}

TEST_F(CoordinatorOperatorsTest, ResumeServesWaitingWorkers) {
  Open();
  EXPECT_OK(coordinator_->Pause());
  Lease lease;
  coordinator_->Acquire({"w", arithmetic_}, absl::Seconds(20),
                        [&](const absl::StatusOr<Lease>& answer) { lease = *answer; });
  EXPECT_EQ(lease.kind, Kind::kWait);
  EXPECT_OK(coordinator_->Resume());
  EXPECT_EQ(lease.kind, Kind::kTrain);
}

TEST_F(CoordinatorOperatorsTest, PauseOutlastsGenerationsAndTheProcess) {
  Open();
  EXPECT_OK(coordinator_->Pause());
  Open();  // the shards' processes are new ones
  EXPECT_EQ(Status().state, TrainingState::kPaused);
  Start();  // so is the coordinator's
  Open();
  EXPECT_EQ(Status().state, TrainingState::kPaused);
  EXPECT_THAT(OperatorEvents(), ElementsAre("0 pause: still paused by an operator"));
  EXPECT_EQ(Next().kind, Kind::kWait);
  EXPECT_OK(coordinator_->Resume());
  coordinator_->WorkOnCheckpoints();
  Start();
  Open();
  EXPECT_EQ(Status().state, TrainingState::kTraining);
}

TEST_F(CoordinatorOperatorsTest, PauseIsRecordedWithinAMoment) {
  Open();
  EXPECT_OK(coordinator_->Pause());
  EXPECT_FALSE(store_->ReadPaused());
  coordinator_->WorkOnCheckpoints();
  EXPECT_TRUE(store_->ReadPaused());
  EXPECT_EQ(store_->ReadGeneration(), 5U);
}

TEST_F(CoordinatorOperatorsTest, NothingIsAskedOfATrainingThatHasNotBegun) {
  const auto gathering = StatusIs(absl::StatusCode::kUnavailable, HasSubstr("still gathering"));
  EXPECT_THAT(coordinator_->Pause(), gathering);
  EXPECT_THAT(coordinator_->Resume(), gathering);
  EXPECT_THAT(coordinator_->Drain(), gathering);
}

TEST_F(CoordinatorOperatorsTest, FinishedTrainingCannotBePausedButDrained) {
  const uint64_t generation = Open().generation;
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  EXPECT_EQ(*coordinator_->Drain(), 5);  // the last checkpoint is in progress
  EXPECT_EQ(Status().state, TrainingState::kDraining);
  WritePart(5, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kDrained);
  EXPECT_EQ(Next().kind, Kind::kFinished);
  Start();
  Open();
  EXPECT_EQ(Status().state, TrainingState::kFinished);
  EXPECT_EQ(Next().kind, Kind::kFinished);  // its worker leaves
  EXPECT_THAT(coordinator_->Pause(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                              HasSubstr("got one that is finished")));
  EXPECT_EQ(*coordinator_->Drain(), 5);
  EXPECT_EQ(Status().state, TrainingState::kDrained);
  EXPECT_TRUE(MayEnd(1, coordinator_->view().generation));  // no worker is waited for
}

TEST_F(CoordinatorOperatorsTest, DrainNeedsADirectory) {
  Job job = job_;
  job.checkpoint.reset();
  Coordinator::Options options;
  options.job = job;
  options.clock = &clock_;
  options.log = MakeSilentLogger();
  Coordinator coordinator(std::move(options));
  EXPECT_THAT(coordinator.Drain(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                            HasSubstr("expected a job with checkpoints")));
}

TEST_F(CoordinatorOperatorsTest, DrainEndsWorkersThenShardsThenTheCoordinator) {
  const uint64_t generation = DrainAtStep2();
  EXPECT_EQ(NextOf("other").kind, Kind::kWait);  // a second worker
  WritePart(2, generation);
  EXPECT_FALSE(MayEnd(1, generation));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
  EXPECT_EQ(Status().state, TrainingState::kDrained);
  EXPECT_THAT(Status().message, HasSubstr("the checkpoint of step 2 is complete"));
  const Lease last = Next();
  EXPECT_EQ(last.kind, Kind::kDrained);
  EXPECT_THAT(last.message, HasSubstr("continues from the checkpoint of step 2"));
  EXPECT_FALSE(MayEnd(1, generation));
  EXPECT_EQ(NextOf("other").kind, Kind::kDrained);
  PassTime(OperatorRequests::kLastWords);
  EXPECT_FALSE(MayEnd(0, generation));
  EXPECT_TRUE(MayEnd(1, generation));
  EXPECT_FALSE(MayEnd(0, generation));  // the answer may have been lost
  PassTime(OperatorRequests::kLastWords);
  EXPECT_TRUE(MayEnd(0, generation));

  Start();
  Open();
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  EXPECT_EQ(Next().step, 2);
}

TEST_F(CoordinatorOperatorsTest, DrainDoesNotWaitLongForSilentWorkersAndShards) {
  const uint64_t generation = DrainAtStep2();
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_FALSE(MayEnd(1, generation));
  PassTime(OperatorRequests::kLinger);
  EXPECT_FALSE(MayEnd(0, generation));
  PassTime(OperatorRequests::kLinger);
  EXPECT_TRUE(MayEnd(0, generation));
}

TEST_F(CoordinatorOperatorsTest, DrainedCoordinatorTakesNoNewProcess) {
  const uint64_t generation = DrainAtStep2();
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_THAT(coordinator_->Heartbeat({1, 2, coordinator_->job_hash(), "h1:1", 999, 0}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("drained")));
  EXPECT_EQ(Status().state, TrainingState::kDrained);
  EXPECT_THAT(coordinator_->Resume(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("start them again")));
  EXPECT_EQ(*coordinator_->Drain(), 2);
}

TEST_F(CoordinatorOperatorsTest, DrainOfAPausedTrainingTrainsToItsCheckpointAndEndsThePause) {
  const uint64_t generation = Open().generation;
  const Lease lease = Train(Next());
  EXPECT_OK(coordinator_->Pause());
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Next().kind, Kind::kWait);
  EXPECT_EQ(*coordinator_->Drain(), 2);
  EXPECT_THAT(coordinator_->Pause(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                              HasSubstr("got one that is draining")));
  EXPECT_EQ(Train(lease).kind, Kind::kWait);
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kDrained);
  coordinator_->WorkOnCheckpoints();
  EXPECT_FALSE(store_->ReadPaused());
}

TEST_F(CoordinatorOperatorsTest, DrainWhoseCheckpointFailsIsAbandoned) {
  for (const bool paused : {false, true}) {
    Start();
    const uint64_t generation = Open().generation;
    const Lease lease = Next();
    if (paused) {
      EXPECT_OK(coordinator_->Pause());
    }
    EXPECT_OK(coordinator_->Drain());
    Train(Train(lease));
    Beat(0, incarnation_, generation, {{2, {}, "shard 0: no space left on device"}});
    EXPECT_EQ(Status().state, paused ? TrainingState::kPaused : TrainingState::kTraining);
    EXPECT_THAT(
        OperatorEvents().back(),
        HasSubstr(absl::StrCat("the drain is abandoned, because its checkpoint of step 2 failed; "
                               "the training ",
                               paused ? "is paused again" : "goes on")));
    EXPECT_THAT(Status().checkpoint->error, HasSubstr("no space left"));
    EXPECT_EQ(Next().kind, paused ? Kind::kWait : Kind::kTrain);
  }
}

TEST_F(CoordinatorOperatorsTest, ResumeAbandonsADrain) {
  DrainAtStep2();
  EXPECT_OK(coordinator_->Resume());
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  EXPECT_EQ(Next().step, 2);
}

TEST_F(CoordinatorOperatorsTest, DrainTakesTheCheckpointThatIsInProgress) {
  const uint64_t generation = Open().generation;
  const Lease lease = Train(Next());
  ASSERT_TRUE(lease.checkpoint);  // as the job says, of step 2
  EXPECT_EQ(*coordinator_->Drain(), 2);
  EXPECT_EQ(Train(lease).kind, Kind::kWait);
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kDrained);
}

TEST_F(CoordinatorOperatorsTest, DrainNeedsNoWorkerAtACheckpoint) {
  Open();
  EXPECT_EQ(*coordinator_->Drain(), 0);  // the initial weights need none
  EXPECT_EQ(Status().state, TrainingState::kDrained);

  Start();
  const uint64_t generation = Open().generation;
  EXPECT_OK(coordinator_->Pause());
  EXPECT_OK(coordinator_->Resume());
  const Lease second = Train(Next());
  EXPECT_OK(coordinator_->Pause());
  EXPECT_EQ(Train(second).kind, Kind::kWait);
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(*coordinator_->Drain(), 2);  // complete, and no step has begun since
  EXPECT_EQ(Status().state, TrainingState::kDrained);
}

TEST_F(CoordinatorOperatorsTest, DrainBeginsAgainInANewGeneration) {
  DrainAtStep2();
  const uint64_t generation = Open().generation;  // before the checkpoint was written
  EXPECT_EQ(generation, 6U);
  // No step has begun in it: what it started with needs no checkpoint.
  EXPECT_EQ(Status().state, TrainingState::kDrained);
  EXPECT_EQ(Status().step, 0);
}

}  // namespace
}  // namespace percentdelta

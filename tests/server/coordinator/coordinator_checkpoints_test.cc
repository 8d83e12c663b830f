// SPDX-License-Identifier: Apache-2.0

// When a checkpoint is complete.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "server/coordinator/coordinator.h"
#include "tests/server/coordinator/checkpoints_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Kind = Lease::Kind;

TEST_F(CoordinatorCheckpointsTest, LeasesSayWhichStepBecomesACheckpoint) {
  Open();
  Lease lease = Next();
  EXPECT_FALSE(lease.checkpoint);  // leads to step 1
  lease = Train(lease);
  EXPECT_TRUE(lease.checkpoint);
  lease = Train(lease);
  EXPECT_FALSE(lease.checkpoint);
  lease = Train(lease);
  EXPECT_FALSE(lease.checkpoint);  // leads to step 4, but 2 is under way
  EXPECT_EQ(Status().checkpoint->skipped, 1);
  lease = Train(lease);
  EXPECT_TRUE(lease.checkpoint);  // the last
}

TEST_F(CoordinatorCheckpointsTest, WaitsForTheStepsStatistics) {
  const uint64_t generation = Open().generation;
  const Lease lease = Next();
  LeaseResult result;
  result.generation = generation;
  result.lease_id = lease.id;
  result.worker = "w";
  result.examples = 4;
  Train(Complete(lease, result));  // step 0 has no statistics
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), -1);
  TensorStatistics late;
  late.tensor = "a";
  EXPECT_OK(coordinator_->ReportStatistics(generation, {late}));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
}

TEST_F(CoordinatorCheckpointsTest, CompletesWithoutStatisticsThatNeverCome) {
  const uint64_t generation = Open().generation;
  const Lease lease = Next();
  LeaseResult result;
  result.generation = generation;
  result.lease_id = lease.id;
  result.worker = "w";
  result.examples = 4;
  Train(Complete(lease, result));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  clock_.Advance(absl::Seconds(11));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
}

TEST_F(CoordinatorCheckpointsTest, PartOfAnOlderGenerationIsIgnored) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  Open();
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), -1);
}

TEST_F(CoordinatorCheckpointsTest, FailedPartIsReportedAndTheNextOneRetries) {
  const uint64_t generation = Open().generation;
  Lease lease = Train(Train(Next()));
  Beat(0, incarnation_, generation, {{2, {}, "shard 0: no space left on device"}});
  EXPECT_EQ(Status().checkpoint->failures, 1);
  EXPECT_EQ(Status().checkpoint->error, "shard 0: no space left on device");
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  Train(Train(lease));
  WritePart(4, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, 4);
  EXPECT_EQ(Status().checkpoint->error, "");
}

TEST_F(CoordinatorCheckpointsTest, ManifestThatCannotBeWrittenFailsTheCheckpoint) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  std::filesystem::create_directory(StepDirectory(job_.checkpoint->directory, 2) +
                                    "/manifest.json");
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->failures, 1);
  EXPECT_THAT(Status().checkpoint->error, HasSubstr("manifest.json"));
}

// A shard that writes to a disk of its own: the training continues, the checkpoint does not count.
TEST_F(CoordinatorCheckpointsTest, PartThatTheCoordinatorDoesNotSeeFailsTheCheckpoint) {
  const uint64_t generation = Open().generation;
  const Lease lease = Train(Train(Next()));
  WritePart(2, generation);
  std::filesystem::rename(StepDirectory(job_.checkpoint->directory, 2),
                          temporary_.path() + "/other disk");
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, -1);
  EXPECT_EQ(Status().checkpoint->failures, 1);
  EXPECT_THAT(Status().checkpoint->error,
              AllOf(HasSubstr("shard 0 wrote shard-00000-of-00002.safetensors of step 2"),
                    HasSubstr("all servers must see one directory")));
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  EXPECT_EQ(NewestOnDisk(), -1);
  Train(Train(lease));
  WritePart(4, generation);
  clock_.Advance(absl::Seconds(1));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, 4);
  EXPECT_EQ(NewestOnDisk(), 4);
}

TEST_F(CoordinatorCheckpointsTest, FinishedMeansThatTheLastCheckpointIsComplete) {
  const uint64_t generation = Open().generation;
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  EXPECT_EQ(lease.kind, Kind::kWait);
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  WritePart(2, generation);
  WritePart(5, generation);
  coordinator_->WorkOnCheckpoints();
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Next().kind, Kind::kFinished);
  EXPECT_EQ(NewestOnDisk(), 5);
  // A server that restarts finds the training finished.
  Start();
  Open();
  EXPECT_EQ(Next().kind, Kind::kFinished);
}

TEST_F(CoordinatorCheckpointsTest, WorkersMayLeaveAfterATimeoutOfTheLastCheckpoint) {
  Open();
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  coordinator_->Tick();
  clock_.Advance(absl::Seconds(61));
  coordinator_->Tick();
  EXPECT_EQ(Next().kind, Kind::kFinished);
}

// There is no next one to replace it.
TEST_F(CoordinatorCheckpointsTest, LastOneThatFailsIsRetried) {
  const uint64_t generation = Open().generation;
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  Beat(0, incarnation_, generation, {{5, {}, "shard 0: no space left on device"}});
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  coordinator_->Tick();
  clock_.Advance(absl::Seconds(11));
  coordinator_->Tick();
  EXPECT_EQ(Next().kind, Kind::kFinished);  // after a timeout
  WritePart(5, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, 5);
  EXPECT_EQ(Status().checkpoint->error, "");
  EXPECT_EQ(NewestOnDisk(), 5);
}

TEST_F(CoordinatorCheckpointsTest, LastManifestThatFailsIsRetriedAfterAPause) {
  const uint64_t generation = Open().generation;
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  WritePart(5, generation);
  const std::string manifest = StepDirectory(job_.checkpoint->directory, 5) + "/manifest.json";
  std::filesystem::create_directory(manifest);
  coordinator_->WorkOnCheckpoints();
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->failures, 1);
  std::filesystem::remove(manifest);
  clock_.Advance(absl::Seconds(2));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 5);
}

TEST_F(CoordinatorCheckpointsTest, TakesOneOnRequest) {
  EXPECT_THAT(coordinator_->TakeCheckpoint(), StatusIs(absl::StatusCode::kUnavailable));
  const uint64_t generation = Open().generation;
  EXPECT_EQ(*coordinator_->TakeCheckpoint(), 1);
  EXPECT_TRUE(Next().checkpoint);
  (void)generation;
}

TEST_F(CoordinatorCheckpointsTest, RequestNeedsADirectory) {
  Job job = job_;
  job.checkpoint.reset();
  Coordinator::Options options;
  options.job = job;
  options.clock = &clock_;
  options.log = MakeSilentLogger();
  Coordinator coordinator(std::move(options));
  EXPECT_THAT(coordinator.TakeCheckpoint(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(CoordinatorCheckpointsTest, MetricsAndAnyArithmeticAreRestored) {
  const Job strict = job_;
  job_.any_arithmetic = true;
  Start();
  const uint64_t generation = Open().generation;
  const Lease lease = Train(Next());
  arithmetic_ = "gpu";
  EXPECT_EQ(Next().kind, Kind::kWait);
  Train(lease);
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  ASSERT_EQ(NewestOnDisk(), 2);

  Start();
  Open();
  arithmetic_ = "other";
  EXPECT_EQ(Next().step, 2);
  const Progress progress = Status();
  EXPECT_TRUE(progress.any_arithmetic);
  EXPECT_EQ(progress.arithmetic, "fma");
  EXPECT_THAT(progress.other_arithmetic, ElementsAre("gpu", "other"));
  ASSERT_EQ(progress.training.size(), 2U);
  ASSERT_EQ(progress.training[1].metrics.size(), 1U);
  EXPECT_EQ(progress.training[1].metrics[0].name, "m");
  EXPECT_EQ(progress.training[1].metrics[0].value, 1.5);
  // A job that promises equal bits does not continue it.
  EXPECT_THAT(
      store_->FindNewest(strict).status(),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("any_arithmetic: false and true")));
}

TEST_F(CoordinatorCheckpointsTest, AnyArithmeticContinuesAStrictTraining) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  job_.any_arithmetic = true;
  Start();
  Open();
  arithmetic_ = "other";
  EXPECT_EQ(Next().step, 2);
  EXPECT_THAT(Status().other_arithmetic, ElementsAre("other"));
}

}  // namespace
}  // namespace percentdelta

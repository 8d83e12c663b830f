// SPDX-License-Identifier: Apache-2.0

// Which generations a coordinator opens, and with what.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "common/base/durable_file.h"
#include "server/coordinator/coordinator.h"
#include "tests/server/coordinator/checkpoints_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Kind = Lease::Kind;

using GenerationStartTest = CoordinatorCheckpointsTest;

TEST_F(GenerationStartTest, GenerationIsOnDiskBeforeItIsAnnounced) {
  Beat(0, 1, 0);
  EXPECT_EQ(Beat(1, 1, 0).generation, 0U);
  EXPECT_EQ(store_->ReadGeneration(), 0U);
  EXPECT_EQ(Status().state, TrainingState::kGathering);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(store_->ReadGeneration(), 5U);
  EXPECT_THAT(*ReadWholeFile(job_.checkpoint->directory + "/cluster.json", 1 << 20),
              HasSubstr(coordinator_->job_hash()));
  const ClusterView view = Beat(1, 1, 0);
  EXPECT_EQ(view.generation, 5U);
  EXPECT_EQ(view.checkpoint, "");
  EXPECT_EQ(view.step, 0);
}

TEST_F(GenerationStartTest, RestartedCoordinatorNeverRepeatsAGeneration) {
  EXPECT_EQ(Open().generation, 5U);
  Start();  // its clock has been set back: it would begin with 5 again
  EXPECT_EQ(Open().generation, 6U);
}

TEST_F(GenerationStartTest, ContinuesFromTheNewestComplete) {
  const uint64_t generation = Open().generation;
  Lease lease = Train(Train(Next()));
  WritePart(2, generation);
  EXPECT_EQ(NewestOnDisk(), -1);
  EXPECT_TRUE(Status().checkpoint->under_way);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
  EXPECT_EQ(Status().checkpoint->step, 2);
  EXPECT_FALSE(Status().checkpoint->under_way);
  clock_.Advance(absl::Seconds(7));
  Train(lease);

  const ClusterView view = Open();  // both shards died; the coordinator, too, or not
  EXPECT_EQ(view.generation, generation + 1);
  EXPECT_EQ(view.checkpoint, StepDirectory(job_.checkpoint->directory, 2));
  EXPECT_EQ(view.step, 2);
  lease = Next();
  EXPECT_EQ(lease.step, 2);
  EXPECT_EQ(lease.batch, BatchOf(job_, 2, 0));
  const Progress progress = Status();
  EXPECT_EQ(progress.step, 2);
  ASSERT_THAT(progress.training, SizeIs(2));
  EXPECT_EQ(progress.training[1].loss, 1);
  const auto statistics = coordinator_->statistics().Range(0, 10, "");
  ASSERT_THAT(statistics, SizeIs(2));
  EXPECT_EQ(statistics[1].step, 1);
}

// No generation falls back to step 0 because every checkpoint is damaged.
TEST_F(GenerationStartTest, AllDamagedIsReportedUntilRepaired) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  const std::string path = StepDirectory(job_.checkpoint->directory, 2) + "/history.pb";
  const std::string whole = *ReadWholeFile(path, 1 << 20);
  std::ofstream(path) << "damaged";
  ++incarnation_;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Beat(0, incarnation_, 0).generation, 0U);
    EXPECT_EQ(Beat(1, incarnation_, 0).generation, 0U);
    coordinator_->WorkOnCheckpoints();
    EXPECT_EQ(Status().state, TrainingState::kGathering);
    EXPECT_THAT(Status().message, AllOf(HasSubstr(path), HasSubstr("--no_restore")));
    EXPECT_EQ(Next().kind, Kind::kWait);
    clock_.Advance(absl::Seconds(1));
  }
  std::ofstream(path, std::ios::binary) << whole;
  coordinator_->WorkOnCheckpoints();
  const ClusterView view = Beat(0, incarnation_, 0);
  EXPECT_EQ(view.generation, generation + 1);
  EXPECT_EQ(view.step, 2);
}

TEST_F(GenerationStartTest, ShardThatCannotReadTheCheckpointIsNamed) {
  const uint64_t generation = Open().generation;
  Beat(1, incarnation_, 0, {}, "step-2: no such directory");
  EXPECT_THAT(Status().message, HasSubstr("shard 1: step-2: no such directory"));
  Beat(1, incarnation_, generation);
  Next();
  EXPECT_EQ(Status().message, "");
}

TEST_F(GenerationStartTest, DirectoryThatVanishesIsRetried) {
  std::filesystem::remove_all(job_.checkpoint->directory);
  std::ofstream(job_.checkpoint->directory) << "in its place";
  Beat(0, 1, 0);
  Beat(1, 1, 0);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kGathering);
  EXPECT_THAT(Status().message, HasSubstr(job_.checkpoint->directory));
  std::filesystem::remove(job_.checkpoint->directory);
  EXPECT_OK(store_->Prepare());
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kGathering);  // not at once
  clock_.Advance(absl::Seconds(1));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Beat(0, 1, 0).generation, 5U);
}

TEST_F(GenerationStartTest, RestoredArithmeticIsRequiredOfAll) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  Start();
  std::vector<absl::StatusOr<Lease>> answers;
  coordinator_->Acquire({"w", "another"}, absl::Seconds(20),
                        [&](absl::StatusOr<Lease> lease) { answers.push_back(std::move(lease)); });
  Open();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_THAT(answers[0], StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(GenerationStartTest, StartsWithACheckpointFromElsewhere) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  const std::string elsewhere = temporary_.path() + "/elsewhere";
  std::filesystem::rename(StepDirectory(job_.checkpoint->directory, 2), elsewhere);
  Start(elsewhere);
  const ClusterView view = Open();
  EXPECT_EQ(view.checkpoint, elsewhere);
  EXPECT_EQ(view.step, 2);
}

}  // namespace
}  // namespace percentdelta

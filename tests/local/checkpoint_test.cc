// SPDX-License-Identifier: Apache-2.0

// Trainings that stop and continue from a checkpoint, on real servers and workers: their weights
// are those of an undisturbed training.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/checkpoint/checkpoint_store.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

constexpr int64_t kSteps = 20;

class CheckpointTest : public testing::Test {
 protected:
  LocalCluster::Options OptionsOf(int shards, int64_t steps = kSteps) const {
    Job job = SmallMnistJob(steps);
    job.checkpoint = CheckpointSpec{5, directory_, 3};
    LocalCluster::Options options = SmallOptions(std::move(job));
    options.shards = shards;
    options.workers = 2;
    options.worker_threads = 1;
    options.server_threads = 2;
    return options;
  }

  static const std::string& Undisturbed() {
    static const std::string kChecksum = TrainAndChecksum(SmallOptions(SmallMnistJob(kSteps)));
    return kChecksum;
  }

  static Progress ProgressOf(const LocalCluster& cluster) {
    const absl::StatusOr<Progress> progress = Cluster({cluster.coordinator()}).GetProgress();
    EXPECT_OK(progress);
    return progress.value_or(Progress());
  }

  const TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path() + "/checkpoints";
};

// A checkpoint that is due while the previous one is still being written is skipped, unless it is
// the last.
TEST_F(CheckpointTest, DoNotChangeTheWeights) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(OptionsOf(2)));
  ASSERT_OK(cluster->AwaitWorkers());
  const Cluster client({cluster->coordinator()});
  EXPECT_EQ(ChecksumOf(*client.PullWeights(*client.GetJob())), Undisturbed());
  const CheckpointProgress progress = ProgressOf(*cluster).checkpoint.value();
  EXPECT_EQ(progress.step, kSteps);
  EXPECT_EQ(progress.failures, 0);
  int64_t retained = 0;
  for (const int64_t step : {5, 10, 15, 20}) {
    const std::string directory = StepDirectory(directory_, step);
    if (!fs::exists(directory)) continue;
    ++retained;
    EXPECT_OK(OpenCheckpoint(directory, OptionsOf(2).job)) << step;
  }
  EXPECT_EQ(retained, std::min<int64_t>(kSteps / 5 - progress.skipped, 3));
}

// Half of the training on two shards, the rest on another number of shards.
TEST_F(CheckpointTest, ContinueWithTheSameWeightsOnAnyNumberOfShards) {
  TrainAndChecksum(OptionsOf(2, kSteps / 2));
  for (const int shards : {1, 2, 3}) {
    LocalCluster::Options options = OptionsOf(shards);
    options.job.checkpoint->directory = absl::StrCat(temporary_.path(), "/", shards);
    options.restore = directory_;
    ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
    ASSERT_OK(cluster->AwaitWorkers());
    const Cluster client({cluster->coordinator()});
    EXPECT_EQ(ChecksumOf(*client.PullWeights(*client.GetJob())), Undisturbed()) << shards;
    const Progress progress = ProgressOf(*cluster);
    EXPECT_EQ(progress.training.size(), kSteps);
    EXPECT_EQ(progress.training.front().step, 0);
    EXPECT_EQ(
        client.GetUpdateStatistics({.layer = "", .first_step = 0, .last_step = kSteps})->size(),
        kSteps);
  }
}

// So does a rule with state of its own and two reductions a step.
TEST_F(CheckpointTest, ContinueWithTheSameWeightsUnderLamb) {
  const auto lamb = [](LocalCluster::Options options) {
    options.job.optimizer = {0.01, LambRule{.weight_decay = 0.01}};
    options.job.momentum = {};
    return options;
  };
  const std::string undisturbed = TrainAndChecksum(lamb(SmallOptions(SmallMnistJob(kSteps))));
  TrainAndChecksum(lamb(OptionsOf(2, kSteps / 2)));
  LocalCluster::Options options = lamb(OptionsOf(3));
  options.restore = directory_;
  EXPECT_EQ(TrainAndChecksum(std::move(options)), undisturbed);
}

TEST_F(CheckpointTest, RestartedClusterContinues) {
  for (int64_t stop = 6; stop < kSteps; stop += 6) {
    ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(OptionsOf(2)));
    while (ProgressOf(*cluster).step < stop) absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_EQ(TrainAndChecksum(OptionsOf(3)), Undisturbed());
}

// Needs no worker, not even for the evaluation of the last step.
TEST_F(CheckpointTest, FinishedTrainingIsRestoredAsFinished) {
  TrainAndChecksum(OptionsOf(2));
  LocalCluster::Options options = OptionsOf(1);
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  AwaitGeneration(cluster->coordinator());
  const Progress progress = ProgressOf(*cluster);
  EXPECT_EQ(progress.state, TrainingState::kFinished);
  ASSERT_FALSE(progress.evaluations.empty());
  EXPECT_EQ(progress.evaluations.back().step, kSteps);
}

TEST_F(CheckpointTest, NoRestoreStartsAtStepZeroAndSetsCheckpointsAside) {
  TrainAndChecksum(OptionsOf(1));
  LocalCluster::Options options = OptionsOf(1);
  options.no_restore = true;
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  AwaitGeneration(cluster->coordinator());
  EXPECT_EQ(ProgressOf(*cluster).step, 0);
  EXPECT_TRUE(fs::exists(StepDirectory(directory_ + "/set-aside-1", kSteps)));
}

TEST_F(CheckpointTest, AnotherJobIsRefusedAtTheStart) {
  TrainAndChecksum(OptionsOf(1));
  LocalCluster::Options options = OptionsOf(1);
  options.job.seed = 99;
  const auto refused = LocalCluster::Start(std::move(options));
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("seed: 99 and ")));
}

TEST_F(CheckpointTest, AllDamagedIsRefusedAtTheStart) {
  TrainAndChecksum(OptionsOf(1));
  for (const auto& step : fs::directory_iterator(directory_)) {
    if (step.is_directory()) std::ofstream(step.path() / "history.pb") << "damaged";
  }
  LocalCluster::Options options = OptionsOf(1);
  EXPECT_THAT(LocalCluster::Start(options),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("--no_restore")));
  options.no_restore = true;
  EXPECT_EQ(TrainAndChecksum(std::move(options)), Undisturbed());
}

TEST_F(CheckpointTest, RestoreOfNothingIsRefused) {
  LocalCluster::Options options = OptionsOf(1);
  options.restore = temporary_.path() + "/nowhere";
  EXPECT_THAT(std::string(LocalCluster::Start(options).status().message()), HasSubstr("/nowhere"));
  options.no_restore = true;
  EXPECT_THAT(LocalCluster::Start(options), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(CheckpointTest, AreTakenOnDemand) {
  LocalCluster::Options options = OptionsOf(2, 100000);
  options.job.checkpoint->every_steps = 100000;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  while (ProgressOf(*cluster).step < 1) absl::SleepFor(absl::Milliseconds(2));
  const Cluster client({cluster->coordinator()});
  ASSERT_OK_AND_ASSIGN(const int64_t step, client.TakeCheckpoint());
  EXPECT_GT(step, 0);
  while (ProgressOf(*cluster).checkpoint->step < step) absl::SleepFor(absl::Milliseconds(2));
}

// A file replaces the directory: the training continues, and reports the failures.
TEST_F(CheckpointTest, TrainingContinuesWithoutADisk) {
  LocalCluster::Options options = OptionsOf(2);
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  AwaitGeneration(cluster->coordinator());
  fs::rename(directory_, directory_ + "-away");
  std::ofstream(directory_) << "in its place";
  cluster->AddWorker();
  ASSERT_OK(cluster->AwaitWorkers());
  const Cluster client({cluster->coordinator()});
  EXPECT_EQ(ChecksumOf(*client.PullWeights(*client.GetJob())), Undisturbed());
  const Progress progress = ProgressOf(*cluster);
  EXPECT_EQ(progress.state, TrainingState::kFinished);
  EXPECT_GE(progress.checkpoint->failures, 2);
  EXPECT_THAT(progress.checkpoint->error, HasSubstr(directory_));
}

}  // namespace
}  // namespace percentdelta

// Trainings that are ended and begun again, over real servers and workers: the weights are those of
// a training that nobody disturbed.

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
    EXPECT_TRUE(progress.ok()) << progress.status();
    return progress.value_or(Progress());
  }

  const TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path() + "/checkpoints";
};

// Those that are due while the disk still writes the one before are skipped, the last one never.
TEST_F(CheckpointTest, AreTakenWithoutAnInfluenceOnTheWeights) {
  const auto cluster = LocalCluster::Start(OptionsOf(2));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_TRUE((*cluster)->AwaitWorkers().ok());
  const Cluster client({(*cluster)->coordinator()});
  EXPECT_EQ(ChecksumOf(*client.PullWeights(*client.GetJob())), Undisturbed());
  const CheckpointProgress progress = ProgressOf(**cluster).checkpoint.value();
  EXPECT_EQ(progress.step, kSteps);
  EXPECT_EQ(progress.failures, 0);
  int64_t kept = 0;
  for (const int64_t step : {5, 10, 15, 20}) {
    const std::string directory = StepDirectory(directory_, step);
    if (!fs::exists(directory)) continue;
    ++kept;
    EXPECT_TRUE(OpenCheckpoint(directory, OptionsOf(2).job).ok()) << step;
  }
  EXPECT_EQ(kept, std::min<int64_t>(kSteps / 5 - progress.skipped, 3));
}

// Half of the training on two shards, the rest on another number of them.
TEST_F(CheckpointTest, GoOnWithTheSameWeightsOnAnyNumberOfShards) {
  TrainAndChecksum(OptionsOf(2, kSteps / 2));
  for (const int shards : {1, 2, 3}) {
    LocalCluster::Options options = OptionsOf(shards);
    options.job.checkpoint->directory = absl::StrCat(temporary_.path(), "/", shards);
    options.restore = directory_;
    const auto cluster = LocalCluster::Start(std::move(options));
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    ASSERT_TRUE((*cluster)->AwaitWorkers().ok());
    const Cluster client({(*cluster)->coordinator()});
    EXPECT_EQ(ChecksumOf(*client.PullWeights(*client.GetJob())), Undisturbed()) << shards;
    const Progress progress = ProgressOf(**cluster);
    EXPECT_EQ(progress.training.size(), kSteps);
    EXPECT_EQ(progress.training.front().step, 0);
    EXPECT_EQ(
        client.GetUpdateStatistics({.layer = "", .first_step = 0, .last_step = kSteps})->size(),
        kSteps);
  }
}

// So does a rule with state of its own and two reductions a step.
TEST_F(CheckpointTest, GoOnWithTheSameWeightsUnderLamb) {
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

TEST_F(CheckpointTest, ClusterThatIsStartedAgainGoesOnByItself) {
  for (int64_t stop = 6; stop < kSteps; stop += 6) {
    const auto cluster = LocalCluster::Start(OptionsOf(2));
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    while (ProgressOf(**cluster).step < stop) absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_EQ(TrainAndChecksum(OptionsOf(3)), Undisturbed());
}

// No worker is needed, not even for the evaluation of the last step.
TEST_F(CheckpointTest, FinishedTrainingIsFoundFinished) {
  TrainAndChecksum(OptionsOf(2));
  LocalCluster::Options options = OptionsOf(1);
  options.workers = 0;
  const auto cluster = LocalCluster::Start(std::move(options));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  AwaitGeneration((*cluster)->coordinator());
  const Progress progress = ProgressOf(**cluster);
  EXPECT_EQ(progress.state, TrainingState::kFinished);
  ASSERT_FALSE(progress.evaluations.empty());
  EXPECT_EQ(progress.evaluations.back().step, kSteps);
}

TEST_F(CheckpointTest, NoRestoreBeginsAnewAndLosesNothing) {
  TrainAndChecksum(OptionsOf(1));
  LocalCluster::Options options = OptionsOf(1);
  options.no_restore = true;
  options.workers = 0;
  const auto cluster = LocalCluster::Start(std::move(options));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  AwaitGeneration((*cluster)->coordinator());
  EXPECT_EQ(ProgressOf(**cluster).step, 0);
  EXPECT_TRUE(fs::exists(StepDirectory(directory_ + "/set-aside-1", kSteps)));
}

TEST_F(CheckpointTest, AnotherJobIsRefusedAtTheStart) {
  TrainAndChecksum(OptionsOf(1));
  LocalCluster::Options options = OptionsOf(1);
  options.job.seed = 99;
  const auto refused = LocalCluster::Start(std::move(options));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("seed: 99 and "));
}

TEST_F(CheckpointTest, AllDamagedIsRefusedAtTheStart) {
  TrainAndChecksum(OptionsOf(1));
  for (const auto& step : fs::directory_iterator(directory_)) {
    if (step.is_directory()) std::ofstream(step.path() / "history.pb") << "damaged";
  }
  LocalCluster::Options options = OptionsOf(1);
  const auto refused = LocalCluster::Start(options);
  EXPECT_TRUE(absl::IsDataLoss(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--no_restore"));
  options.no_restore = true;
  EXPECT_EQ(TrainAndChecksum(std::move(options)), Undisturbed());
}

TEST_F(CheckpointTest, RestoreOfNothingIsRefused) {
  LocalCluster::Options options = OptionsOf(1);
  options.restore = temporary_.path() + "/nowhere";
  EXPECT_THAT(std::string(LocalCluster::Start(options).status().message()), HasSubstr("/nowhere"));
  options.no_restore = true;
  EXPECT_TRUE(absl::IsInvalidArgument(LocalCluster::Start(options).status()));
}

TEST_F(CheckpointTest, AreTakenOnDemand) {
  LocalCluster::Options options = OptionsOf(2, 100000);
  options.job.checkpoint->every_steps = 100000;
  const auto cluster = LocalCluster::Start(std::move(options));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  while (ProgressOf(**cluster).step < 1) absl::SleepFor(absl::Milliseconds(2));
  const Cluster client({(*cluster)->coordinator()});
  const absl::StatusOr<int64_t> step = client.TakeCheckpoint();
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_GT(*step, 0);
  while (ProgressOf(*cluster.value()).checkpoint->step < *step) {
    absl::SleepFor(absl::Milliseconds(2));
  }
}

// The directory vanishes, with a file in its place: training goes on, and says so.
TEST_F(CheckpointTest, TrainingGoesOnWithoutADisk) {
  LocalCluster::Options options = OptionsOf(2);
  options.workers = 0;
  const auto cluster = LocalCluster::Start(std::move(options));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  AwaitGeneration((*cluster)->coordinator());
  fs::rename(directory_, directory_ + "-away");
  std::ofstream(directory_) << "in its place";
  (*cluster)->AddWorker();
  ASSERT_TRUE((*cluster)->AwaitWorkers().ok());
  const Cluster client({(*cluster)->coordinator()});
  EXPECT_EQ(ChecksumOf(*client.PullWeights(*client.GetJob())), Undisturbed());
  const Progress progress = ProgressOf(**cluster);
  EXPECT_EQ(progress.state, TrainingState::kFinished);
  EXPECT_GE(progress.checkpoint->failures, 2);
  EXPECT_THAT(progress.checkpoint->error, HasSubstr(directory_));
}

}  // namespace
}  // namespace percentdelta

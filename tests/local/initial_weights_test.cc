// SPDX-License-Identifier: Apache-2.0

// Trainings that start with the weights of a file.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/cluster.h"
#include "common/base/durable_file.h"
#include "common/base/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

class InitialWeightsTest : public testing::Test {
 protected:
  // Makes the job start with random weights from a file.
  Job FromFile(Job job) {
    values_ = RandomGradient(job.model, 3);
    std::vector<SafetensorsEntry> entries;
    for (size_t i = 0; i < values_.size(); ++i) {
      TensorSpec& tensor = job.model.tensors[i];
      tensor.initializer = FileInitializer{};
      entries.push_back({tensor.name, tensor.shape, values_[i]});
    }
    EXPECT_OK(WriteSafetensors(path_, entries, {}));
    job.initial_weights = InitialWeightsSpec{path_, *Sha256OfFile(path_)};
    return job;
  }

  static Server::Options OptionsOf(const Job& job, int shard, const std::string& coordinator) {
    Server::Options options;
    options.job = job;
    options.shard = shard;
    options.shards = 2;
    options.threads = 1;
    options.heartbeat_interval = absl::Milliseconds(20);
    options.coordinator = coordinator;
    return options;
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/w.safetensors";
  std::vector<std::vector<float>> values_;
};

TEST_F(InitialWeightsTest, StartsWithTheFilesWeightsOnAnyNumberOfShards) {
  const Job job = FromFile(MadeUpJob(3));
  std::string after;
  for (const int shards : {1, 2, 3}) {
    ServersOnly servers(job, shards);
    EXPECT_EQ(servers.Pull(0).values, values_) << shards;
    servers.TrainStep();
    const std::string checksum = ChecksumOf(servers.Pull(1));
    if (after.empty()) after = checksum;
    EXPECT_EQ(checksum, after) << shards;
  }
}

// Each server by itself, before it listens.
TEST_F(InitialWeightsTest, EveryServerRefusesABadFileAtItsStart) {
  const Job good = FromFile(MadeUpJob(3));
  ASSERT_OK_AND_ASSIGN(const Server first, Server::Start(OptionsOf(good, 0, "")));
  Job missing = good;
  missing.initial_weights->file = directory_.path() + "/none";
  Job changed = good;
  changed.initial_weights->sha256 = std::string(64, '0');
  Job other = good;
  other.model.tensors[0].shape = {10000, 5};
  for (int shard = 0; shard < 2; ++shard) {
    const auto start = [&](const Job& job) {
      return Server::Start(OptionsOf(job, shard, first.address())).status();
    };
    EXPECT_THAT(start(missing), StatusIs(absl::StatusCode::kNotFound, HasSubstr("No such file")));
    EXPECT_THAT(start(changed),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("expected SHA-256 0")));
    EXPECT_THAT(start(other), StatusIs(absl::StatusCode::kFailedPrecondition,
                                       HasSubstr("expected shape [10000, 5], got [5, 10000]")));
  }
}

// Without checkpoints, a shard's death starts the training again at step 0.
TEST_F(InitialWeightsTest, StartsAgainWithTheSameWeights) {
  const Job job = FromFile(MadeUpJob(3));
  ASSERT_OK_AND_ASSIGN(const Server first, Server::Start(OptionsOf(job, 0, "")));
  ASSERT_OK_AND_ASSIGN(Server second, Server::Start(OptionsOf(job, 1, first.address())));
  const uint64_t generation = AwaitGeneration(first.address()).generation;
  ASSERT_OK_AND_ASSIGN(second, Server::Start(OptionsOf(job, 1, first.address())));
  ClusterInfo info;
  do {
    absl::SleepFor(absl::Milliseconds(5));
    info = AwaitGeneration(first.address());
  } while (info.generation == generation);
  const Cluster client({first.address()});
  absl::StatusOr<Weights> weights = client.PullWeights(info, 0);
  for (int i = 0; i < 1000 && absl::IsUnavailable(weights.status()); ++i) {
    absl::SleepFor(absl::Milliseconds(5));
    weights = client.PullWeights(info, 0);
  }
  ASSERT_OK(weights);
  EXPECT_EQ(weights->values, values_);
}

TEST_F(InitialWeightsTest, ACheckpointDoesNotNeedTheFile) {
  const auto options = [&](Job job) {
    LocalCluster::Options made = SmallOptions(std::move(job));
    made.shards = 2;
    made.workers = 1;
    return made;
  };
  Job whole = FromFile(SmallMnistJob(6));
  const std::string undisturbed = TrainAndChecksum(options(whole));
  whole.checkpoint = CheckpointSpec{3, directory_.path() + "/checkpoints", 2};
  Job half = whole;
  half.max_steps = 3;
  TrainAndChecksum(options(half));

  fs::remove(path_);
  EXPECT_EQ(TrainAndChecksum(options(whole)), undisturbed);

  Job elsewhere = whole;
  elsewhere.checkpoint.reset();
  LocalCluster::Options restored = options(elsewhere);
  restored.restore = StepDirectory(whole.checkpoint->directory, 3);  // step 6 is there as well
  EXPECT_EQ(TrainAndChecksum(std::move(restored)), undisturbed);

  LocalCluster::Options anew = options(whole);
  anew.no_restore = true;
  EXPECT_THAT(LocalCluster::Start(std::move(anew)).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
}

}  // namespace
}  // namespace percentdelta

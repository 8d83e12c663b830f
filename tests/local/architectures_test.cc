// SPDX-License-Identifier: Apache-2.0

// Trains the architectures other than the paper's on a cluster: the jobs of deploy/jobs, scaled
// down, on synthetic data.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cluster.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/cluster/progress.h"
#include "common/job/job.h"
#include "common/job/job_codec.h"
#include "deploy/local/cluster.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"

namespace percentdelta {
namespace {

using ::testing::Lt;

constexpr int64_t kTrainingExamples = 600;
constexpr int64_t kTestExamples = 200;
constexpr int64_t kSteps = 40;

Job LoadNamed(const std::string& name) {
  const absl::StatusOr<Job> job = LoadJob(std::string(PD_JOBS) + "/" + name + ".textproto");
  EXPECT_OK(job);
  return job.value_or(Job());
}

Job MadeSmall(Job job) {
  job.max_steps = kSteps;
  job.gradients_per_step = 2;
  job.batch_size = 100;
  job.data = {kTrainingExamples, kTestExamples};
  job.evaluation = EvaluationSpec{20, 100};
  job.schedule = {};
  job.optimizer.learning_rate = 0.1;
  return job;
}

void AddWord(uint64_t word, Dataset& dataset) {
  dataset.pixels.push_back(static_cast<uint8_t>(word / 256));
  dataset.pixels.push_back(static_cast<uint8_t>(word % 256));
}

// 20 users and 10 items: users with higher numbers give higher ratings.
Job RatingsJob() {
  Job job = MadeSmall(LoadNamed("ratings"));
  job.model.tensors[0].shape = {20, 2};
  job.model.tensors[1].shape = {20};
  job.model.tensors[2].shape = {10, 2};
  job.model.tensors[3].shape = {10};
  return job;
}

std::shared_ptr<const Dataset> Ratings(int64_t count, uint64_t seed) {
  Dataset dataset = {.count = count, .rows = 1, .columns = 4, .pixels = {}, .labels = {}};
  RandomStream random(seed, 0);
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t user = random.Below(20);
    AddWord(user, dataset);
    AddWord(random.Below(10), dataset);
    dataset.labels.push_back(static_cast<uint8_t>(user / 4 + random.Below(3)));
  }
  return std::make_shared<const Dataset>(std::move(dataset));
}

// Words 290 to 299 determine the class; the others carry no information.
Job DocumentsJob() {
  Job job = MadeSmall(LoadNamed("documents"));
  job.model.tensors[0].shape = {300, 4};
  job.model.tensors[1].shape = {4};
  job.model.tensors[2].shape = {4, 10};
  return job;
}

std::shared_ptr<const Dataset> Documents(int64_t count, uint64_t seed) {
  Dataset dataset = {.count = count, .rows = 1, .columns = 8, .pixels = {}, .labels = {}};
  RandomStream random(seed, 0);
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t label = random.Below(10);
    AddWord(290 + label, dataset);
    for (int word = 0; word < 3; ++word) AddWord(random.Below(20), dataset);  // 0: none
    dataset.labels.push_back(static_cast<uint8_t>(label));
  }
  return std::make_shared<const Dataset>(std::move(dataset));
}

struct Architecture {
  const char* name;
  Job (*job)();
  std::shared_ptr<const Dataset> (*data)(int64_t count, uint64_t seed);
};

class ArchitecturesTest : public testing::TestWithParam<Architecture> {
 protected:
  static LocalCluster::Options OptionsWith(int shards, int workers) {
    LocalCluster::Options options;
    options.job = GetParam().job();
    options.training_set = GetParam().data(kTrainingExamples, 1);
    options.test_set = GetParam().data(kTestExamples, 2);
    options.heartbeat_interval = absl::Milliseconds(50);
    options.shards = shards;
    options.workers = workers;
    options.worker_threads = workers;
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(All, ArchitecturesTest,
                         testing::Values(Architecture{"Ratings", RatingsJob, Ratings},
                                         Architecture{"Documents", DocumentsJob, Documents}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(ArchitecturesTest, WeightsAreTheSameForAnyShardsAndWorkers) {
  const std::string expected = TrainAndChecksum(OptionsWith(1, 1));
  ASSERT_EQ(expected.size(), 64U);
  EXPECT_EQ(TrainAndChecksum(OptionsWith(3, 2)), expected);
}

// There are more shards than blocks: at most five tensors, each smaller than a block.
TEST_P(ArchitecturesTest, AShardMayOwnNothing) {
  EXPECT_EQ(TrainAndChecksum(OptionsWith(7, 1)), TrainAndChecksum(OptionsWith(1, 1)));
}

TEST_P(ArchitecturesTest, LossFalls) {
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(OptionsWith(2, 2)));
  ASSERT_OK(cluster->AwaitWorkers());
  Cluster::Options client_options;
  client_options.coordinator = cluster->coordinator();
  ASSERT_OK_AND_ASSIGN(const Progress progress, Cluster(client_options).GetProgress());
  EXPECT_EQ(progress.arithmetic, "double");
  const std::vector<ProgressPoint>& evaluations = progress.evaluations;
  ASSERT_EQ(evaluations.size(), 3U);
  EXPECT_THAT(evaluations[1].loss, Lt(evaluations[0].loss));
  EXPECT_THAT(evaluations[2].loss, Lt(0.8 * evaluations[0].loss));
}

// An example that is invalid for the model fails the training with a message that names it.
TEST_P(ArchitecturesTest, BadDataAreNamed) {
  LocalCluster::Options options = OptionsWith(1, 1);
  Dataset dataset = *options.training_set;
  for (uint8_t& byte : dataset.pixels) byte = 255;
  options.training_set = std::make_shared<const Dataset>(std::move(dataset));
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  EXPECT_THAT(std::string(cluster->AwaitWorkers().message()), testing::HasSubstr("65535"));
}

TEST(JobsTest, EachHasItsModel) {
  ThreadPool pool(1);
  for (const auto& file : std::filesystem::directory_iterator(PD_JOBS)) {
    const Job job = LoadNamed(file.path().stem().string());
    EXPECT_OK(MakeModel(job.model, {.pool = &pool, .isa = ""})) << file.path();
  }
}

}  // namespace
}  // namespace percentdelta

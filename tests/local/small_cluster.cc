// SPDX-License-Identifier: Apache-2.0

#include "tests/local/small_cluster.h"

#include <utility>

#include "absl/time/clock.h"
#include "client/coordinator_stub.h"
#include "client/pull.h"
#include "client/push.h"
#include "common/base/random.h"
#include "common/job/job_codec.h"
#include "gtest/gtest.h"
#include "tests/local/process.h"
#include "tests/status_matchers.h"
#include "worker/kernels/select.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

}  // namespace

Job SmallMnistJob(int64_t steps) {
  Job job = *LoadJob("");
  job.name = "small";
  job.max_steps = steps;
  job.gradients_per_step = 2;
  job.batch_size = 16;
  job.data = {kTrainingImages, kTestImages};
  job.evaluation = EvaluationSpec{10, 16};
  return job;
}

std::shared_ptr<const Dataset> SyntheticDataset(int64_t images, uint64_t seed) {
  Dataset dataset;
  dataset.count = images;
  dataset.rows = 28;
  dataset.columns = 28;
  RandomStream random(seed, 0);
  for (int64_t image = 0; image < images; ++image) {
    const auto label = static_cast<int>(random.Below(10));
    dataset.labels.push_back(static_cast<uint8_t>(label));
    for (int y = 0; y < 28; ++y) {
      for (int x = 0; x < 28; ++x) {
        const bool spot = y / 5 == label / 2 && x / 14 == label % 2;
        dataset.pixels.push_back(static_cast<uint8_t>(random.Below(64) + (spot ? 160 : 0)));
      }
    }
  }
  return std::make_shared<const Dataset>(std::move(dataset));
}

LocalCluster::Options SmallOptions(Job job) {
  LocalCluster::Options options;
  options.job = std::move(job);
  options.training_set = SyntheticDataset(kTrainingImages, 1);
  options.test_set = SyntheticDataset(kTestImages, 2);
  options.heartbeat_interval = absl::Milliseconds(50);
  return options;
}

void WriteSmallDataSets(const std::string& directory) {
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory);
}

Job MadeUpJob(int64_t steps) {
  Job job = SmallMnistJob(steps);
  job.name = "made-up";
  job.model.architecture = "none";
  job.evaluation.reset();
  const TruncatedNormalInitializer normal{0.1};
  job.model.tensors = {{"a/weights", {5, 10000}, normal},
                       {"a/biases", {7}, ConstantInitializer{0.1}},
                       {"b/weights", {130, 130}, normal},
                       {"b/scale", {}, ConstantInitializer{2}}};
  return job;
}

ClusterInfo AwaitGeneration(const std::string& coordinator,
                            const std::shared_ptr<const ClientCredentials>& credentials) {
  const auto stub = MakeCoordinatorStub(coordinator, absl::Seconds(5), credentials);
  const absl::Time give_up = absl::Now() + kPatience;
  while (absl::Now() < give_up) {
    const absl::StatusOr<ClusterInfo> info = stub->GetJob();
    if (info.ok() && info->generation != 0) return *info;
    absl::SleepFor(absl::Milliseconds(5));
  }
  ADD_FAILURE() << "no generation was opened within " << kPatience;
  return {};
}

ServersOnly::ServersOnly(const Job& job, int shards, int64_t first_step) {
  for (int shard = 0; shard < shards; ++shard) {
    Server::Options options;
    options.job = job;
    options.shard = shard;
    options.shards = shards;
    options.threads = 2;
    options.heartbeat_interval = absl::Milliseconds(20);
    if (shard > 0) options.coordinator = coordinator();
    servers_.push_back(*Server::Start(std::move(options)));
  }
  cluster_info_ = AwaitGeneration(coordinator());
  channels_ = std::make_unique<ShardChannels>(job.model, cluster_info_.generation,
                                              cluster_info_.shard_addresses);
  Pull(first_step);  // succeeds once every shard has entered the generation
}

Weights ServersOnly::Pull(int64_t step) const {
  Weights weights;
  weights.step = step;
  const absl::Time give_up = absl::Now() + kPatience;
  absl::Status status;
  while (true) {
    status = WeightPull(*channels_, step, absl::Seconds(10), weights.values).AwaitAll();
    if (!absl::IsUnavailable(status) || absl::Now() >= give_up) break;
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_OK(status);
  return weights;
}

absl::Status ServersOnly::Push(int64_t step, int32_t slot,
                               const std::vector<std::vector<float>>& gradient) {
  GradientPush push(*channels_, {step, slot}, absl::Seconds(10),
                    std::make_shared<const std::vector<std::vector<float>>>(gradient));
  for (size_t tensor = 0; tensor < gradient.size(); ++tensor) push.Ready(static_cast<int>(tensor));
  return push.Finish();
}

void ServersOnly::TrainStep() {
  const auto coordinator = MakeCoordinatorStub(this->coordinator(), absl::Seconds(10));
  const Job& job = cluster_info_.job;
  for (int32_t i = 0; i < job.gradients_per_step; ++i) {
    // The result of a lease is the next lease, unless the shards have to finish the step first.
    while (!lease_ || lease_->kind == Lease::Kind::kWait) {
      const std::string arithmetic = SupportedKernels().front()->arithmetic;
      lease_ = *coordinator->AcquireLease({"test", arithmetic}, absl::Seconds(10));
    }
    ASSERT_EQ(lease_->kind, Lease::Kind::kTrain);
    Pull(lease_->step);
    ASSERT_OK(
        Push(lease_->step, lease_->slot,
             RandomGradient(job.model, lease_->step * job.gradients_per_step + lease_->slot + 1)));
    LeaseResult result;
    result.generation = lease_->generation;
    result.lease_id = lease_->id;
    result.worker = "test";
    result.examples = job.batch_size;
    lease_ = *coordinator->CompleteLease(result);
  }
}

std::vector<std::vector<float>> RandomGradient(const ModelSpec& model, uint64_t seed) {
  std::vector<std::vector<float>> gradient;
  for (const TensorSpec& tensor : model.tensors) {
    RandomStream random(seed, gradient.size());
    std::vector<float>& values = gradient.emplace_back(tensor.size());
    for (float& value : values) value = static_cast<float>(2 * random.Uniform() - 1);
  }
  return gradient;
}

std::string ChecksumAt(const std::string& coordinator, int64_t step) {
  Cluster::Options options;
  options.coordinator = coordinator;
  const Cluster client(options);
  const absl::StatusOr<ClusterInfo> info = client.GetJob();
  EXPECT_OK(info);
  if (!info.ok()) return "";
  const absl::StatusOr<Weights> weights = client.PullWeights(*info, step);
  EXPECT_OK(weights);
  return weights.ok() ? ChecksumOf(*weights) : "";
}

std::string TrainAndChecksum(LocalCluster::Options options) {
  const int64_t last = options.job.max_steps;
  absl::StatusOr<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(std::move(options));
  EXPECT_OK(cluster);
  if (!cluster.ok()) return "";
  EXPECT_OK((*cluster)->AwaitWorkers());
  return ChecksumAt((*cluster)->coordinator(), last);
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// Workers that die, join late, or hold the same slot: the weights stay the same.

#include <signal.h>

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/push.h"
#include "common/base/random.h"
#include "gtest/gtest.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "worker/kernels/select.h"

namespace percentdelta {
namespace {

constexpr int64_t kSteps = 30;
constexpr absl::Duration kShortLease = absl::Seconds(1);

Job FaultJob() {
  Job job = SmallMnistJob(kSteps);
  job.evaluation.reset();  // so that the first lease is a slot
  return job;
}

const std::string& Undisturbed() {
  static const std::string kChecksum = TrainAndChecksum(SmallOptions(FaultJob()));
  return kChecksum;
}

Progress ProgressOf(const LocalCluster& cluster) {
  return *MakeCoordinatorStub(cluster.coordinator(), absl::Seconds(10))->GetProgress(0);
}

std::unique_ptr<LocalCluster> StartServers(int shards, absl::Duration lease_deadline) {
  LocalCluster::Options options = SmallOptions(FaultJob());
  options.shards = shards;
  options.workers = 0;
  options.worker_threads = 1;
  options.lease_deadline = lease_deadline;
  return *LocalCluster::Start(std::move(options));
}

TEST(FaultsTest, WorkerKilledInTheMiddleOfAPush) {
  const auto cluster = StartServers(2, kShortLease);
  Process victim({PD_HALF_PUSH, cluster->coordinator()});
  ASSERT_TRUE(victim.AwaitOutput("half of step 0 slot 0")) << victim.output();
  victim.Signal(SIGKILL);
  EXPECT_EQ(victim.Wait(), -SIGKILL);

  cluster->AddWorker();
  ASSERT_OK(cluster->AwaitWorkers());
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
  const Progress progress = ProgressOf(*cluster);
  EXPECT_GE(progress.expired_leases + progress.speculative_leases, 1);
}

TEST(FaultsTest, RealWorkersKilledAtRandomMoments) {
  const uint64_t seed = absl::ToUnixNanos(absl::Now());
  std::cout << "seed " << seed << "\n";
  RandomStream random(seed, 0);
  const auto cluster = StartServers(2, kShortLease);
  const TemporaryDirectory data;
  WriteSmallDataSets(data.path());
  const std::vector<std::string> command = {PD_WORKER, "--data=" + data.path(), "--threads=1",
                                            "--coordinator=" + cluster->coordinator()};
  for (int i = 0; i < 5; ++i) {
    const int64_t before = ProgressOf(*cluster).step;
    Process victim(command);
    // Kill it only once it makes progress.
    while (ProgressOf(*cluster).step < before + 2) absl::SleepFor(absl::Milliseconds(1));
    absl::SleepFor(absl::Milliseconds(random.Below(60)));
    victim.Signal(SIGKILL);
    ASSERT_EQ(victim.Wait(), -SIGKILL) << victim.output();
    std::cout << "killed in step " << ProgressOf(*cluster).step << "\n";
  }
  ASSERT_LT(ProgressOf(*cluster).step, kSteps);
  Process survivor(command);
  EXPECT_EQ(survivor.Wait(), 0) << survivor.output();
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
}

TEST(FaultsTest, WorkerThatJoinsLate) {
  const auto cluster = StartServers(1, absl::ZeroDuration());
  cluster->AddWorker();
  while (ProgressOf(*cluster).step < 2) absl::SleepFor(absl::Milliseconds(1));
  cluster->AddWorker();
  cluster->AddWorker();
  ASSERT_OK(cluster->AwaitWorkers());
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
}

// Leases expire while every worker is still computing: late results must count, or the training
// would never make progress.
TEST(FaultsTest, LeasesShorterThanTheWork) {
  const auto cluster = StartServers(2, absl::Milliseconds(1));
  cluster->AddWorker();
  cluster->AddWorker();
  ASSERT_OK(cluster->AwaitWorkers());
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
  EXPECT_GE(ProgressOf(*cluster).expired_leases, 1);
}

TEST(FaultsTest, WorkerThatLeavesEarly) {
  const auto cluster = StartServers(2, absl::ZeroDuration());
  const int leaving = cluster->AddWorker();
  while (ProgressOf(*cluster).step < 2) absl::SleepFor(absl::Milliseconds(1));
  cluster->StopWorker(leaving);
  EXPECT_LT(ProgressOf(*cluster).step, kSteps);
  cluster->AddWorker();
  ASSERT_OK(cluster->AwaitWorkers());
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
}

// The test holds slot 0 until its lease has expired and a worker has done the same work. Then it
// pushes a wrong gradient, and reports success.
TEST(FaultsTest, TwoHoldersOfTheSameSlot) {
  const auto cluster = StartServers(2, absl::Milliseconds(300));
  const ClusterInfo info = AwaitGeneration(cluster->coordinator());
  const auto coordinator = MakeCoordinatorStub(cluster->coordinator(), absl::Seconds(10));
  ASSERT_OK_AND_ASSIGN(const Lease lease,
                       coordinator->AcquireLease({"slow", SupportedKernels().front()->arithmetic},
                                                 absl::Seconds(10)));
  ASSERT_EQ(lease.kind, Lease::Kind::kTrain);
  ASSERT_EQ(lease.step, 0);

  cluster->AddWorker();
  while (ProgressOf(*cluster).step < 1) absl::SleepFor(absl::Milliseconds(1));
  const ShardChannels channels(info.job.model, info.generation, info.shard_addresses);
  const std::vector<std::vector<float>> wrong = RandomGradient(info.job.model, 1);
  {
    GradientPush push(channels, {lease.step, lease.slot}, absl::Seconds(10),
                      std::make_shared<const std::vector<std::vector<float>>>(wrong));
    for (size_t t = 0; t < wrong.size(); ++t) push.Ready(static_cast<int>(t));
    EXPECT_OK(push.Finish());
  }
  LeaseResult result;
  result.generation = lease.generation;
  result.lease_id = lease.id;
  result.worker = "slow";
  result.examples = info.job.batch_size;
  ASSERT_OK(coordinator->CompleteLease(result));
  EXPECT_GE(ProgressOf(*cluster).duplicate_results, 1);

  ASSERT_OK(cluster->AwaitWorkers());
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
}

}  // namespace
}  // namespace percentdelta

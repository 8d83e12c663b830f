// SPDX-License-Identifier: Apache-2.0

// Clusters of processes, as users run them: exit codes and messages.

#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/coordinator_stub.h"
#include "common/job/job_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ProcessesTest : public testing::Test {
 protected:
  std::string WriteJob(const std::string& name, const Job& job) const {
    std::string path = absl::StrCat(directory_.path(), "/", name);
    WriteFile(path, JobToText(job));
    return path;
  }

  const TemporaryDirectory directory_;
};

// Waits until the training has reached the step; returns its current step, or -1 if the coordinator
// does not answer.
int64_t AwaitStep(const std::string& coordinator, int64_t step) {
  Cluster::Options options;
  options.coordinator = coordinator;
  const Cluster client(options);
  while (true) {
    const absl::StatusOr<Progress> progress = client.GetProgress();
    EXPECT_OK(progress);
    if (!progress.ok()) return -1;
    if (progress->step >= step) return progress->step;
    absl::SleepFor(absl::Milliseconds(5));
  }
}

TEST_F(ProcessesTest, TrainsToTheSameWeightsAsOneProcess) {
  const Job job = SmallMnistJob(6);
  const std::string job_flag = "--job=" + WriteJob("job.textproto", job);
  WriteSmallDataSets(directory_.path());
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", job_flag});
  const std::string coordinator = ListenAddress(first);
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1",
                  "--coordinator=" + coordinator, job_flag});
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + coordinator});
  EXPECT_EQ(worker.Wait(), 0) << worker.output();

  Cluster::Options options;
  options.coordinator = coordinator;
  const Cluster client(options);
  ASSERT_OK_AND_ASSIGN(const ClusterInfo cluster, client.GetJob());
  ASSERT_OK_AND_ASSIGN(const Weights weights, client.PullWeights(cluster, -1));
  EXPECT_EQ(weights.step, 6);
  EXPECT_EQ(ChecksumOf(weights), TrainAndChecksum(SmallOptions(job)));

  for (Process* server : {&first, &second}) {
    server->Signal(SIGTERM);
    EXPECT_EQ(server->Wait(), 0) << server->output();
    EXPECT_THAT(server->output(), HasSubstr("stopped"));
  }
}

TEST_F(ProcessesTest, PortInUse) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0"});
  const std::string address = ListenAddress(first);
  Process second({PD_SERVER, "--listen=" + address});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(),
              AllOf(HasSubstr("cannot listen on " + address), HasSubstr("--listen=")));
}

TEST_F(ProcessesTest, AShardWithTheAddressOfAnother) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2"});
  const std::string coordinator = ListenAddress(first);
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--advertise=" + coordinator, "--shards=2",
                  "--shard=1", "--coordinator=" + coordinator});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(), AllOf(HasSubstr("where shard 0 answers"), HasSubstr("--advertise")));
}

TEST_F(ProcessesTest, ShardsThatDisagreeOnTheJob) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2"});
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1",
                  "--coordinator=" + ListenAddress(first),
                  "--job=" + WriteJob("other.textproto", SmallMnistJob(3))});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(),
              AllOf(HasSubstr("shard 1"), HasSubstr("expected the coordinator's job"),
                    HasSubstr("got job"), HasSubstr("--job")));
}

TEST_F(ProcessesTest, ShardsThatDisagreeOnTheCount) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2"});
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--shards=3", "--shard=1",
                  "--coordinator=" + ListenAddress(first)});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(), AllOf(HasSubstr("shard 1"), HasSubstr("expected 2 shards"),
                                     HasSubstr("got 3"), HasSubstr("--shards")));
}

TEST_F(ProcessesTest, JobWhoseTensorsDoNotFitTheModel) {
  Job job = SmallMnistJob(3);
  job.model.tensors[2].shape = {5, 5, 32, 63};
  WriteSmallDataSets(directory_.path());
  Process server({PD_SERVER, "--listen=127.0.0.1:0", "--job=" + WriteJob("odd.textproto", job)});
  Process worker(
      {PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + ListenAddress(server)});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(), AllOf(HasSubstr("conv2/weights"), HasSubstr("64"), HasSubstr("63")));
}

TEST_F(ProcessesTest, WorkerWithoutData) {
  Process absent({PD_WORKER, "--data=/nowhere"});
  EXPECT_EQ(absent.Wait(), 1);
  EXPECT_THAT(absent.output(), AllOf(HasSubstr("/nowhere"), HasSubstr("--data")));
}

TEST_F(ProcessesTest, WorkerWithOtherDataThanTheJobs) {
  WriteIdxFiles(*SyntheticDataset(kTrainingImages - 1, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  Process server(
      {PD_SERVER, "--listen=127.0.0.1:0", "--job=" + WriteJob("job.textproto", SmallMnistJob(3))});
  Process worker(
      {PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + ListenAddress(server)});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(), AllOf(HasSubstr(absl::StrCat("expected ", kTrainingImages)),
                                     HasSubstr(absl::StrCat("got ", kTrainingImages - 1))));
}

TEST_F(ProcessesTest, TrainingThatDiverges) {
  Job job = SmallMnistJob(20);
  job.optimizer.rule = SgdRule{};
  job.optimizer.learning_rate = 1e30;
  WriteSmallDataSets(directory_.path());
  Process local(
      {PD_LOCAL, "--data=" + directory_.path(), "--job=" + WriteJob("wild.textproto", job)});
  EXPECT_EQ(local.Wait(), 1) << local.output();
  EXPECT_THAT(local.output(), AllOf(HasSubstr("suspended"), HasSubstr("not finite")));
  // Work that fails on two workers fails the training.
  Process two({PD_LOCAL, "--workers=2", "--data=" + directory_.path(),
               "--job=" + (directory_.path() + "/wild.textproto")});
  EXPECT_EQ(two.Wait(), 1) << two.output();
  EXPECT_THAT(two.output(), AllOf(HasSubstr("the training failed"), HasSubstr("not finite"),
                                  HasSubstr("2 workers")));
}

TEST_F(ProcessesTest, WorkerGivesUpOnAClusterThatIsNotThere) {
  WriteSmallDataSets(directory_.path());
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=127.0.0.1:1",
                  "--give_up_after=300ms"});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(), AllOf(HasSubstr("127.0.0.1:1"), HasSubstr("has not answered")));
}

TEST_F(ProcessesTest, WorkerGivesUpOnShardsThatNeverCome) {
  WriteSmallDataSets(directory_.path());
  const Process server({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2",
                        "--job=" + WriteJob("job.textproto", SmallMnistJob(6))});
  Process worker({PD_WORKER, "--data=" + directory_.path(),
                  "--coordinator=" + ListenAddress(server), "--give_up_after=300ms"});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(), HasSubstr("shards have been missing for 300ms"));
}

TEST_F(ProcessesTest, WorkerGivesUpOnAShardThatDoesNotComeBack) {
  const std::string job = "--job=" + WriteJob("job.textproto", SmallMnistJob(100000));
  WriteSmallDataSets(directory_.path());
  const Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", job});
  const std::string coordinator = ListenAddress(first);
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1",
                  "--coordinator=" + coordinator, job});
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + coordinator,
                  "--give_up_after=500ms"});
  ASSERT_TRUE(worker.AwaitOutput("joined"));
  AwaitStep(coordinator, 2);
  second.Signal(SIGKILL);
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(),
              AllOf(HasSubstr("out of reach for 500ms"), HasSubstr("shard 1 at 127.0.0.1:")));
}

TEST_F(ProcessesTest, WorkerThatAsksAShardOtherThanTheCoordinator) {
  WriteSmallDataSets(directory_.path());
  Process server(
      {PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1", "--coordinator=127.0.0.1:1"});
  const std::string address = ListenAddress(server);
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + address});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(),
              AllOf(HasSubstr(address + " is not the coordinator"), HasSubstr("--coordinator")));
}

TEST_F(ProcessesTest, WarnsOfTensorsThatStartAtZero) {
  Job job = SmallMnistJob(3);
  job.model.tensors[1].initializer = ConstantInitializer{0};
  Process server({PD_SERVER, "--listen=127.0.0.1:0", "--job=" + WriteJob("zero.textproto", job)});
  ListenAddress(server);
  EXPECT_THAT(server.output(),
              AllOf(HasSubstr(" W server-0 "), HasSubstr("tensor conv1/biases starts at zero")));
}

// A restarted shard has lost its weights: the cluster opens a new generation and trains again.
TEST_F(ProcessesTest, ShardThatIsKilledAndRestarted) {
  constexpr int64_t kSteps = 20;
  const Job job = SmallMnistJob(kSteps);
  const std::string job_flag = "--job=" + WriteJob("job.textproto", job);
  const std::string checksum = TrainAndChecksum(SmallOptions(job));
  WriteSmallDataSets(directory_.path());
  for (const int victim : {0, 1}) {
    SCOPED_TRACE(absl::StrCat("shard ", victim));
    std::vector<Process> servers;
    servers.emplace_back(Process({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", job_flag}));
    const std::string coordinator = ListenAddress(servers[0]);
    servers.emplace_back(Process({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1",
                                  "--coordinator=" + coordinator, job_flag}));
    const std::string address = ListenAddress(servers[victim]);
    Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + coordinator});

    Cluster::Options options;
    options.coordinator = coordinator;
    const Cluster client(options);
    const ClusterInfo before = AwaitGeneration(coordinator);
    ASSERT_LT(AwaitStep(coordinator, 2), kSteps);
    servers[victim].Signal(SIGKILL);
    ASSERT_EQ(servers[victim].Wait(), -SIGKILL);

    std::vector<std::string> again = {PD_SERVER, "--listen=" + address, "--shards=2",
                                      absl::StrCat("--shard=", victim), job_flag};
    if (victim != 0) again.push_back("--coordinator=" + coordinator);
    const Process revived(again);
    EXPECT_EQ(worker.Wait(), 0) << worker.output() << revived.output();
    ASSERT_OK_AND_ASSIGN(const ClusterInfo after, client.GetJob());
    EXPECT_GT(after.generation, before.generation);
    ASSERT_OK_AND_ASSIGN(const Weights weights, client.PullWeights(after, kSteps));
    EXPECT_EQ(ChecksumOf(weights), checksum);
  }
}

// A process without our code uses reflection and health checks, as tools do.
TEST_F(ProcessesTest, ReflectionAndHealthAreEnabled) {
  Process server({PD_SERVER, "--listen=127.0.0.1:0"});
  Process client(
      {"/usr/bin/python3", PD_SOURCE_DIR "/tests/client/reflection.py", ListenAddress(server)});
  EXPECT_EQ(client.Wait(), 0) << client.output();
  EXPECT_THAT(
      client.output(),
      AllOf(HasSubstr("percentdelta.v1.ParameterServer"), HasSubstr("percentdelta.v1.Coordinator"),
            HasSubstr("percentdelta.v1.Statistics"), HasSubstr("SERVING")));
}

// The paper's Figure 1 from a Python client, while a training runs.
TEST_F(ProcessesTest, PythonClientPrintsFigureOne) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(100000));
  options.shards = 2;
  const auto cluster = *LocalCluster::Start(std::move(options));
  const std::string script = PD_SOURCE_DIR "/tests/client/figure1.py";
  Process client(
      {"/usr/bin/python3", script, cluster->coordinator(), "--steps=0,5,10", "--timeout=60"});
  EXPECT_EQ(client.Wait(), 0) << client.output();
  EXPECT_THAT(client.output(), AllOf(HasSubstr("Step 0"), HasSubstr("Step 5"), HasSubstr("Step 10"),
                                     HasSubstr("conv1"), HasSubstr("fc2"),
                                     HasSubstr("PercentDelta"), HasSubstr("SGD")));
}

}  // namespace
}  // namespace percentdelta

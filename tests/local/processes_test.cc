// The binaries as their users meet them: exit codes, messages, signals.

#include <signal.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/coordinator_stub.h"
#include "common/job/job_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// What stands between "listening address=" and the next blank.
std::string AddressOf(const Process& server) {
  EXPECT_TRUE(server.AwaitOutput("listening address=")) << server.output();
  const std::string output = server.output();
  const size_t begin = output.find("listening address=") + 18;
  return output.substr(begin, output.find(' ', begin) - begin);
}

class ProcessesTest : public testing::Test {
 protected:
  std::string WriteJob(const std::string& name, const Job& job) const {
    std::string path = absl::StrCat(directory_.path(), "/", name);
    WriteFile(path, JobToText(job));
    return path;
  }

  const TemporaryDirectory directory_;
};

// Waits until the training is at that step or beyond; returns where it is, -1 if it cannot be
// asked.
int64_t AwaitStep(const std::string& coordinator, int64_t step) {
  Cluster::Options options;
  options.coordinator = coordinator;
  const Cluster client(options);
  int64_t reached = -1;
  do {
    const absl::StatusOr<Progress> progress = client.GetProgress();
    EXPECT_TRUE(progress.ok()) << progress.status();
    if (!progress.ok()) return -1;
    reached = progress->step;
  } while (reached < step);
  return reached;
}

TEST_F(ProcessesTest, TrainsToTheSameWeightsAsOneProcess) {
  const Job job = SmallMnistJob(6);
  const std::string job_flag = "--job=" + WriteJob("job.textproto", job);
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", job_flag});
  const std::string coordinator = AddressOf(first);
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1",
                  "--coordinator=" + coordinator, job_flag});
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + coordinator});
  EXPECT_EQ(worker.Wait(), 0) << worker.output();

  Cluster::Options options;
  options.coordinator = coordinator;
  const Cluster client(options);
  const absl::StatusOr<ClusterInfo> cluster = client.GetJob();
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const absl::StatusOr<Weights> weights = client.PullWeights(*cluster, -1);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->step, 6);
  EXPECT_EQ(ChecksumOf(*weights), TrainAndChecksum(SmallOptions(job)));

  for (Process* server : {&first, &second}) {
    server->Signal(SIGTERM);
    EXPECT_EQ(server->Wait(), 0) << server->output();
    EXPECT_THAT(server->output(), HasSubstr("stopped"));
  }
}

TEST_F(ProcessesTest, PortInUse) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0"});
  const std::string address = AddressOf(first);
  Process second({PD_SERVER, "--listen=" + address});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(),
              AllOf(HasSubstr("cannot listen on " + address), HasSubstr("--listen=")));
}

// Each with a flag that is not HOST:PORT, or not one that others can connect to.
TEST_F(ProcessesTest, AddressesThatAreNone) {
  const std::vector<std::vector<std::string>> rows = {
      {PD_SERVER, "--listen=unix:/tmp/socket"},
      {PD_SERVER, "--listen=*:5000"},
      {PD_SERVER, "--listen=127.0.0.1:0", "--advertise=0.0.0.0:5000"},
      {PD_SERVER, "--listen=127.0.0.1:0", "--advertise=0:5000"},
      {PD_SERVER, "--listen=127.0.0.1:0", "--advertise=*:5000"},
      {PD_SERVER, "--listen=127.0.0.1:0", "--advertise=[::]:5000"},
      {PD_SERVER, "--shards=2", "--shard=1", "--coordinator=xds:///host"},
      {PD_WORKER, "--coordinator=fd:3"},
  };
  for (const std::vector<std::string>& row : rows) {
    Process process(row);
    EXPECT_EQ(process.Wait(), 2) << row.back();
    EXPECT_THAT(process.output(), HasSubstr("expected")) << row.back();
  }
}

TEST_F(ProcessesTest, AShardWithTheAddressOfAnother) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2"});
  const std::string coordinator = AddressOf(first);
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--advertise=" + coordinator, "--shards=2",
                  "--shard=1", "--coordinator=" + coordinator});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(), AllOf(HasSubstr("where shard 0 answers"), HasSubstr("--advertise")));
}

TEST_F(ProcessesTest, ShardsThatDisagreeOnTheJob) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2"});
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1",
                  "--coordinator=" + AddressOf(first),
                  "--job=" + WriteJob("other.textproto", SmallMnistJob(3))});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(),
              AllOf(HasSubstr("shard 1"), HasSubstr("expected the coordinator's job"),
                    HasSubstr("got job"), HasSubstr("--job")));
}

TEST_F(ProcessesTest, ShardsThatDisagreeOnTheCount) {
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2"});
  Process second({PD_SERVER, "--listen=127.0.0.1:0", "--shards=3", "--shard=1",
                  "--coordinator=" + AddressOf(first)});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.output(), AllOf(HasSubstr("shard 1"), HasSubstr("expected 2 shards"),
                                     HasSubstr("got 3"), HasSubstr("--shards")));
}

TEST_F(ProcessesTest, JobThatIsNoJob) {
  const std::string path = directory_.path() + "/broken.textproto";
  WriteFile(path, "name: \"x\"\nmodel { tensors: 7 }\n");
  Process server({PD_SERVER, "--listen=127.0.0.1:0", "--job=" + path});
  EXPECT_EQ(server.Wait(), 2);
  EXPECT_THAT(server.output(), HasSubstr(path + ":2:"));
  Process absent({PD_SERVER, "--listen=127.0.0.1:0", "--job=/nowhere/job.textproto"});
  EXPECT_EQ(absent.Wait(), 2);
  EXPECT_THAT(absent.output(), HasSubstr("/nowhere/job.textproto"));
}

TEST_F(ProcessesTest, JobWhoseTensorsDoNotFitTheModel) {
  Job job = SmallMnistJob(3);
  job.model.tensors[2].shape = {5, 5, 32, 63};
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  Process server({PD_SERVER, "--listen=127.0.0.1:0", "--job=" + WriteJob("odd.textproto", job)});
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + AddressOf(server)});
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
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + AddressOf(server)});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(), AllOf(HasSubstr(absl::StrCat("expected ", kTrainingImages)),
                                     HasSubstr(absl::StrCat("got ", kTrainingImages - 1))));
}

TEST_F(ProcessesTest, TrainingThatDiverges) {
  Job job = SmallMnistJob(20);
  job.optimizer.rule = SgdRule{};
  job.optimizer.learning_rate = 1e30;
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  Process local(
      {PD_LOCAL, "--data=" + directory_.path(), "--job=" + WriteJob("wild.textproto", job)});
  EXPECT_EQ(local.Wait(), 1) << local.output();
  EXPECT_THAT(local.output(), AllOf(HasSubstr("sent away"), HasSubstr("not finite")));
  // What two workers could not do is the training's failure.
  Process two({PD_LOCAL, "--workers=2", "--data=" + directory_.path(),
               "--job=" + (directory_.path() + "/wild.textproto")});
  EXPECT_EQ(two.Wait(), 1) << two.output();
  EXPECT_THAT(two.output(), AllOf(HasSubstr("the training failed"), HasSubstr("not finite"),
                                  HasSubstr("2 workers")));
}

TEST_F(ProcessesTest, WorkerGivesUpOnAClusterThatIsNotThere) {
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=127.0.0.1:1",
                  "--give_up_after=300ms"});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(), AllOf(HasSubstr("127.0.0.1:1"), HasSubstr("has not answered")));
}

TEST_F(ProcessesTest, WorkerGivesUpOnShardsThatNeverCome) {
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  const Process server({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2",
                        "--job=" + WriteJob("job.textproto", SmallMnistJob(6))});
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + AddressOf(server),
                  "--give_up_after=300ms"});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(), HasSubstr("shards are missing since 300ms"));
}

TEST_F(ProcessesTest, WorkerGivesUpOnAShardThatDoesNotComeBack) {
  const std::string job = "--job=" + WriteJob("job.textproto", SmallMnistJob(100000));
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  const Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", job});
  const std::string coordinator = AddressOf(first);
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

TEST_F(ProcessesTest, CommandLinesThatMakeNoSense) {
  for (const char* program : {PD_SERVER, PD_WORKER, PD_LOCAL}) {
    for (const auto& [word, message] : std::vector<std::pair<std::string, std::string>>{
             {"stray", "unexpected argument stray"},
             {"--stray", "there is no flag --stray"},
             {"--threads=many", "--threads: invalid value \"many\""},
             {"--threads", "--threads: expected a value"}}) {
      Process process({program, word});
      EXPECT_EQ(process.Wait(), 2) << process.output();
      EXPECT_THAT(process.output(), HasSubstr(message));
    }
  }
}

TEST_F(ProcessesTest, FlagsOutOfRange) {
  for (const auto& [command, message] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{PD_SERVER, "--shards=0"}, "shards: expected at least 1, got 0"},
           {{PD_SERVER, "--shards=2", "--shard=2"}, "shard: expected 0..1 of 2, got 2"},
           {{PD_SERVER, "--threads=-1"}, "threads: expected at least 0, got -1"},
           {{PD_SERVER, "--history=0"}, "--history: expected at least 1, got 0"},
           {{PD_SERVER, "--listen=127.0.0.1:99999"}, "listen: expected HOST:PORT"},
           {{PD_SERVER, "--listen=127.0.0.1:0", "--advertise=foo"},
            "advertise: expected HOST:PORT"},
           {{PD_WORKER, "--coordinator=foo"}, "--coordinator: expected HOST:PORT"},
           {{PD_WORKER, "--isa=foo"}, "--isa: "},
           {{PD_WORKER, "--threads=-1"}, "--threads: expected at least 0, got -1"},
           {{PD_LOCAL, "--shards=0"}, "--shards: expected at least 1, got 0"},
           {{PD_LOCAL, "--isa=foo"}, "--isa: "},
           {{PD_SERVER, "--threads=100000"}, "--threads: expected at most 1024, got 100000"},
           {{PD_SERVER, "--threads=99999999999"}, "--threads: invalid value"},
           {{PD_SERVER, "--shards=2000000000"}, "--shards: expected at most 1024"},
           {{PD_SERVER, "--history=9000000000000000000"}, "--history: expected at most 10000000"},
           {{PD_SERVER, "--lease_deadline=-1s"}, "--lease_deadline: expected at least 0, got -1s"},
           {{PD_SERVER, "--lease_deadline=inf"}, "--lease_deadline: expected at most 8760h"},
           {{PD_SERVER, "--lease_deadline=1e30h"}, "--lease_deadline: "},
           {{PD_SERVER, "--lease_deadline=nan"}, "--lease_deadline: invalid value"},
           {{PD_SERVER, "--drain=-5s"}, "--drain: expected at least 0, got -5s"},
           {{PD_SERVER, "--drain=inf"}, "--drain: expected at most 8760h"},
           {{PD_SERVER, "--listen=127.0.0.1:-1"}, "listen: expected HOST:PORT"},
           {{PD_WORKER, "--threads=100000"}, "--threads: expected at most 1024, got 100000"},
           {{PD_WORKER, "--give_up_after=-1s"}, "--give_up_after: expected at least 0"},
           {{PD_WORKER, "--drain=inf"}, "--drain: expected at most 8760h"},
           {{PD_WORKER, "--name=" + std::string(129, 'x')}, "--name: expected at most 128 bytes"},
           {{PD_WORKER, "--name=a\nb"}, "--name: expected printable UTF-8"},
           {{PD_LOCAL, "--shards=100000"}, "--shards: expected at most 64, got 100000"},
           {{PD_LOCAL, "--workers=100000"}, "--workers: expected at most 256, got 100000"},
           {{PD_LOCAL, "--threads=100000"}, "--threads: expected at most 1024, got 100000"},
           {{PD_LOCAL, "--steps=-1"}, "--steps: expected at least 0, got -1"},
           {{PD_LOCAL, "--steps=9000000000000000000"}, "--steps: expected at most 10000000"},
           {{PD_LOCAL, "--gradients_per_step=-1"}, "gradients_per_step: expected"},
           {{PD_PDCTL, "stats", "--last=99999999999"}, "--last: invalid value"},
           {{PD_PDCTL, "stats", "--layer=" + std::string(2000, 'x')},
            "--layer: bytes: expected at most 1000, got 2000"},
           {{PD_PDCTL, "status", "--deadline=inf"}, "--deadline: expected at most 1h, got inf"},
           {{PD_PDCTL, "status", "--deadline=-1s"}, "--deadline: expected a positive time"},
           {{PD_PDCTL, "status", "--server=:1"}, "--server: expected HOST:PORT"}}) {
    SCOPED_TRACE(absl::StrJoin(command, " "));
    Process process(command);
    EXPECT_EQ(process.Wait(), 2) << process.output();
    const std::string output = process.output();
    EXPECT_THAT(output, HasSubstr(message));
    EXPECT_EQ(std::count(output.begin(), output.end(), '\n'), 1) << output;
  }
}

TEST_F(ProcessesTest, ReportsThatCannotBeWrittenAreToldBeforeTheTraining) {
  Process local({PD_LOCAL, "--report=/proc/x", "--data=/nowhere"});
  EXPECT_EQ(local.Wait(), 1);
  EXPECT_THAT(local.output(), HasSubstr("cannot make the directory /proc/x"));
}

TEST_F(ProcessesTest, WorkerThatAsksAnotherShardThanTheFirst) {
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  Process server(
      {PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1", "--coordinator=127.0.0.1:1"});
  const std::string address = AddressOf(server);
  Process worker({PD_WORKER, "--data=" + directory_.path(), "--coordinator=" + address});
  EXPECT_EQ(worker.Wait(), 1);
  EXPECT_THAT(worker.output(),
              AllOf(HasSubstr(address + " is not a coordinator"), HasSubstr("--coordinator")));
}

TEST_F(ProcessesTest, HelpListsTheFlags) {
  for (const auto& [program, flag] :
       std::vector<std::pair<std::string, std::string>>{{PD_SERVER, "--lease_deadline"},
                                                        {PD_WORKER, "--give_up_after"},
                                                        {PD_LOCAL, "--report"}}) {
    Process process({program, "--help"});
    EXPECT_EQ(process.Wait(), 0);
    EXPECT_THAT(process.output(), AllOf(HasSubstr(flag), HasSubstr("--threads")));
  }
}

TEST_F(ProcessesTest, TensorsThatStartAtZeroAreWarnedOf) {
  Job job = SmallMnistJob(3);
  job.model.tensors[1].initializer = ConstantInitializer{0};
  Process server({PD_SERVER, "--listen=127.0.0.1:0", "--job=" + WriteJob("zero.textproto", job)});
  AddressOf(server);
  EXPECT_THAT(server.output(),
              AllOf(HasSubstr(" W server-0 "), HasSubstr("tensor conv1/biases starts at zero")));
}

// A shard that comes back has lost its weights: a new generation begins again, by itself.
TEST_F(ProcessesTest, ShardThatIsKilledAndStartedAgain) {
  constexpr int64_t kSteps = 20;
  const Job job = SmallMnistJob(kSteps);
  const std::string job_flag = "--job=" + WriteJob("job.textproto", job);
  const std::string checksum = TrainAndChecksum(SmallOptions(job));
  WriteIdxFiles(*SyntheticDataset(kTrainingImages, 1), *SyntheticDataset(kTestImages, 2),
                directory_.path());
  for (const int victim : {0, 1}) {
    SCOPED_TRACE(absl::StrCat("shard ", victim));
    std::vector<Process> servers;
    servers.emplace_back(Process({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", job_flag}));
    const std::string coordinator = AddressOf(servers[0]);
    servers.emplace_back(Process({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--shard=1",
                                  "--coordinator=" + coordinator, job_flag}));
    const std::string address = AddressOf(servers[victim]);
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
    const absl::StatusOr<ClusterInfo> after = client.GetJob();
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_GT(after->generation, before.generation);
    const absl::StatusOr<Weights> weights = client.PullWeights(*after, kSteps);
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(ChecksumOf(*weights), checksum);
  }
}

// Asks for reflection and health the way tools do, from a process that knows nothing of ours.
TEST_F(ProcessesTest, ReflectionAndHealthAreOn) {
  Process server({PD_SERVER, "--listen=127.0.0.1:0"});
  Process client(
      {"/usr/bin/python3", PD_SOURCE_DIR "/tests/client/reflection.py", AddressOf(server)});
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

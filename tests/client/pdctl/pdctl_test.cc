// The binary pdctl, as people and scripts meet it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cluster.h"
#include "client/coordinator_stub.h"
#include "common/base/safetensors.h"
#include "common/job/job_codec.h"
#include "deploy/local/cluster.h"
#include "nlohmann/json.hpp"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr char kPdctl[] = PD_PDCTL;

std::string ReadWhole(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_EQ(lines.back(), "") << "no newline at the end of " << text;
  lines.pop_back();
  return lines;
}

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

// Runs a shell command in which "pdctl" is ours, or one that begins with it.
Result Shell(const std::string& command) {
  const TemporaryDirectory directory;
  const std::string out = directory.path() + "/out";
  const std::string err = directory.path() + "/err";
  Process process({"/bin/sh", "-c",
                   absl::StrCat("pdctl() { '", kPdctl, "' \"$@\"; }; exec 2>'", err, "' >'", out,
                                "'; ", command)});
  Result result;
  result.code = process.Wait();
  result.out = ReadWhole(out);
  result.err = ReadWhole(err);
  return result;
}

absl::StatusOr<Lease> Acquire(CoordinatorStub& stub, const std::string& worker) {
  return stub.AcquireLease({worker, "a"}, absl::Seconds(1));
}

Result Pdctl(const std::string& arguments) { return Shell(absl::StrCat("pdctl ", arguments)); }

TEST(PdctlUsageTest, SenselessCommandLinesSayWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"nonsense",
       "no command \"nonsense\": expected status, stats, checksum, export, checkpoint, job, "
       "health"},
      {"--bogus status", "there is no flag --bogus"},
      {"status --bogus=1", "there is no flag --bogus"},
      {"stats --last=ten", "--last: invalid value \"ten\""},
      {"stats --last", "--last: expected a value after it"},
      {"stats --watch=maybe", "--watch: invalid value \"maybe\""},
      {"stats --format=xml", "--format: expected table, json or csv, got \"xml\""},
      {"status --format=csv", "status: expected --format=table or json, got csv"},
      {"stats --last=0", "--last: expected at least 1, got 0"},
      {"stats --last=-3", "--last: expected at least 1, got -3"},
      {"status --watch", "status takes no --watch"},
      {"status --nowatch", "status takes no --watch"},
      {"status --last=1", "status takes no --last"},
      {"status --last=2", "status takes no --last"},
      {"checksum --format=table", "checksum takes no --format"},
      {"job --layer=", "job takes no --layer"},
      {"health --connect_to=", "health takes no --connect_to"},
      {"checksum --layer=conv1", "checksum takes no --layer"},
      {"export", "export: expected FILE.safetensors after it"},
      {"export a b", "export: unexpected argument \"b\""},
      {"status now", "status: unexpected argument \"now\""},
      {"status --server=localhost", "--server: expected HOST:PORT, as in 127.0.0.1:5000"},
      {"status --server=localhost:x", "--server: expected HOST:PORT"},
      {"status --server=localhost:70000", "--server: expected HOST:PORT"},
      {"status --deadline=0", "--deadline: expected a positive time"},
      {"checksum --connect_to=a:1", "--connect_to: expected HOST:PORT=HOST:PORT"},
      {"checksum --connect_to=a:1=b:2,c=d:3", "got \"c=d:3\""},
      {"stats --connect_to=a:1=b:2", "stats takes no --connect_to"}};
  for (const auto& [arguments, message] : cases) {
    const Result result = Pdctl(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_THAT(Lines(result.err), SizeIs(1)) << arguments;
    EXPECT_THAT(result.err, AllOf(StartsWith("pdctl: "), HasSubstr(message), HasSubstr("--help")))
        << arguments;
  }
}

TEST(PdctlUsageTest, HelpIsForReading) {
  const Result help = Pdctl("--help");
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* word : {"status", "stats", "checksum", "export FILE.safetensors", "job",
                           "health", "--server=HOST:PORT", "127.0.0.1:5000", "--layer", "--last",
                           "--watch", "--format=table|json|csv", "Exit codes"}) {
    EXPECT_THAT(help.out, HasSubstr(word));
  }
  EXPECT_EQ(Pdctl("status -h").out, help.out);
  EXPECT_EQ(Pdctl("help").out, help.out);

  const Result nothing = Pdctl("");
  EXPECT_EQ(nothing.code, 2);
  EXPECT_EQ(nothing.out, "");
  EXPECT_EQ(nothing.err, help.out);
}

// As with containers, whose names mean nothing on the host.
TEST(PdctlUsageTest, ShardsWhoseAddressesMeanNothingHere) {
  Server::Options options;
  options.job = MadeUpJob(1);
  options.advertise = "server-0.invalid:5000";
  const Server server = *Server::Start(std::move(options));
  const std::string here = absl::StrCat("127.0.0.1:", server.port());
  AwaitGeneration(here);
  const Result lost = Pdctl(absl::StrCat("--server=", here, " --deadline=1s checksum"));
  EXPECT_EQ(lost.code, 1);
  EXPECT_THAT(lost.err, AllOf(HasSubstr("server-0.invalid:5000"), HasSubstr("--connect_to")));
  const Result found =
      Pdctl(absl::StrCat("--server=", here, " checksum --connect_to=server-0.invalid:5000=", here));
  EXPECT_EQ(found.code, 0) << found.err;
  EXPECT_THAT(found.out, EndsWith("  step 0\n"));
}

TEST(PdctlUsageTest, NobodyThere) {
  // A port that somebody had, and that nobody listens on now.
  std::string address;
  {
    Server::Options options;
    options.job = MadeUpJob(1);
    absl::StatusOr<Server> server = Server::Start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    address = server->address();
  }
  for (const char* command :
       {"status", "stats", "stats --watch", "checksum", "export never.there", "job", "health"}) {
    const Result result = Pdctl(absl::StrCat("--server=", address, " ", command));
    EXPECT_EQ(result.code, 1) << command;
    EXPECT_EQ(result.out, "") << command;
    EXPECT_THAT(Lines(result.err), SizeIs(1)) << command;
    EXPECT_THAT(result.err,
                AllOf(StartsWith(absl::StrCat("pdctl: no server answers at ", address, " (")),
                      EndsWith("). Is pd-server running there? Give another address with "
                               "--server=HOST:PORT.\n")))
        << command;
  }
}

// A training that is over, for commands that only look.
class PdctlTest : public ::testing::Test {
 protected:
  static constexpr int kSteps = 3;

  static void SetUpTestSuite() {
    LocalCluster::Options options = SmallOptions(SmallMnistJob(kSteps));
    options.shards = 2;
    absl::StatusOr<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(options);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = cluster->release();
    const absl::Status status = cluster_->AwaitWorkers();
    ASSERT_TRUE(status.ok()) << status;
    const Cluster client({cluster_->coordinator()});
    job_ = *client.GetJob();
    weights_ = *client.PullWeights(job_, kSteps);
  }

  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }

  // Runs pdctl, which must succeed; returns what it prints.
  static std::string Show(const std::string& arguments) {
    const Result result = Pdctl(absl::StrCat("--server=", cluster_->coordinator(), " ", arguments));
    EXPECT_EQ(result.code, 0) << arguments;
    EXPECT_EQ(result.err, "") << arguments;
    return result.out;
  }

  // Runs pdctl, which must fail in its call; returns the line of the error.
  static std::string Failure(const std::string& arguments) {
    const Result result = Pdctl(absl::StrCat("--server=", cluster_->coordinator(), " ", arguments));
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_THAT(Lines(result.err), SizeIs(1)) << arguments;
    return result.err;
  }

  static LocalCluster* cluster_;
  static ClusterInfo job_;
  static Weights weights_;
};

LocalCluster* PdctlTest::cluster_ = nullptr;
ClusterInfo PdctlTest::job_;
Weights PdctlTest::weights_;

TEST_F(PdctlTest, StatusIsAnOverview) {
  EXPECT_THAT(
      Lines(Show("status")),
      IsSupersetOf(
          {MatchesRegex("state +finished"), MatchesRegex("job +small, sha256 " + job_.job_hash),
           MatchesRegex("step +3 of 3"), MatchesRegex("loss +.* at step 2"),
           MatchesRegex("test accuracy +.* % at step 3"), MatchesRegex("workers +.*arithmetic .*"),
           MatchesRegex("shards +2, generation .*"),
           MatchesRegex("leases +0 expired, 0 failed, 0 done twice, 0 given to a second worker")}));
}

TEST_F(PdctlTest, CheckpointNeedsAJobThatSaysWhere) {
  EXPECT_THAT(Failure("checkpoint"), HasSubstr("add checkpoint { every_steps, directory }"));
}

// The disk fails under a training that goes on: the overview says so, and a counter for programs.
TEST(PdctlCheckpointTest, StatusTellsOfCheckpointsThatFail) {
  const TemporaryDirectory temporary;
  const std::string directory = temporary.path() + "/checkpoints";
  Job job = SmallMnistJob(4);
  job.checkpoint = CheckpointSpec{2, directory, 2};
  LocalCluster::Options options = SmallOptions(std::move(job));
  options.workers = 0;
  const auto cluster = LocalCluster::Start(std::move(options));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::string server = absl::StrCat("--server=", (*cluster)->coordinator());
  AwaitGeneration((*cluster)->coordinator());
  EXPECT_THAT(Lines(Pdctl(server + " status").out), Contains(MatchesRegex("checkpoint +none yet")));
  std::filesystem::remove_all(directory);
  std::ofstream(directory) << "in its place";
  (*cluster)->AddWorker();
  ASSERT_TRUE((*cluster)->AwaitWorkers().ok());
  EXPECT_THAT(Lines(Pdctl(server + " status").out),
              AllOf(Contains(MatchesRegex("state +finished")),
                    Contains(MatchesRegex("checkpoint +none yet, the next one is being written; "
                                          "the last one FAILED: shard 0: .*" +
                                          directory + ".*"))));
  const auto json = nlohmann::json::parse(Pdctl(server + " status --format=json").out);
  EXPECT_EQ(json["checkpoint"]["step"], -1);
  EXPECT_GE(json["checkpoint"]["failures"], 1);
  EXPECT_THAT(json["checkpoint"]["error"].get<std::string>(), HasSubstr(directory));

  // The servers go on trying: there is no next one.
  std::filesystem::remove(directory);
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  while (nlohmann::json::parse(Pdctl(server + " status --format=json").out)["checkpoint"]["step"] !=
         4) {
    ASSERT_LT(absl::Now(), give_up) << Pdctl(server + " status").out;
  }
  EXPECT_THAT(Lines(Pdctl(server + " status").out),
              Contains(MatchesRegex("checkpoint +step 4; failed before: .*")));
}

TEST_F(PdctlTest, StatusForPrograms) {
  const auto json = nlohmann::json::parse(Show("status --format=json"));
  EXPECT_EQ(json["state"], "finished");
  EXPECT_EQ(json["job_name"], "small");
  EXPECT_EQ(json["job_hash"], job_.job_hash);
  EXPECT_EQ(json["step"], 3);
  EXPECT_EQ(json["max_steps"], 3);
  EXPECT_EQ(json["shards"], 2);
  EXPECT_EQ(json["generation"], job_.generation);
  EXPECT_EQ(json["last_training"]["step"], 2);
  EXPECT_EQ(json["last_evaluation"]["step"], 3);
  EXPECT_EQ(json["seconds_left"], 0);
}

TEST_F(PdctlTest, StatisticsOfTheLastStepUnlessAskedForMore) {
  const size_t tensors = job_.job.model.tensors.size();
  EXPECT_THAT(Lines(Show("stats")), SizeIs(1 + tensors));
  EXPECT_THAT(Lines(Show("stats --last=2")), SizeIs(1 + 2 * tensors));
  EXPECT_THAT(Lines(Show("stats --last=99 --layer=fc1 --format=csv")), SizeIs(1 + kSteps * 2));
  const auto json = nlohmann::json::parse(Show("stats --format=json --last=2"));
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[1]["step"], 2);
  EXPECT_EQ(json[1]["updates"][0]["tensor"], "conv1/weights");
  EXPECT_GT(json[1]["updates"][0]["relative_delta"], 0);
}

TEST_F(PdctlTest, UnknownLayersAreNamedBesideTheKnownOnes) {
  for (const char* watch : {"", " --watch"}) {
    EXPECT_EQ(Failure(absl::StrCat("stats --layer=conv9", watch)),
              "pdctl: layer: expected one of conv1, conv2, fc1, fc2, got \"conv9\"\n");
  }
}

TEST_F(PdctlTest, WatchingAFinishedTrainingEnds) {
  const std::vector<std::string> lines = Lines(Show("stats --watch --last=99 --format=json"));
  ASSERT_THAT(lines, SizeIs(kSteps));
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_EQ(nlohmann::json::parse(lines[step])["step"], step);
  }
}

TEST_F(PdctlTest, FlagsMayStandAnywhere) {
  const std::string& address = cluster_->coordinator();
  const Result result =
      Pdctl(absl::StrCat("--last=2 stats --format csv --server=", address, " --layer=fc2"));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(Lines(result.out), SizeIs(1 + 2 * 2));
}

TEST_F(PdctlTest, Checksum) {
  EXPECT_EQ(Show("checksum"), absl::StrCat(ChecksumOf(weights_), "  step 3\n"));
}

TEST_F(PdctlTest, ExportWritesTheWeights) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/w.safetensors";
  EXPECT_EQ(Show("export " + path),
            absl::StrCat(path, "  step 3  8 tensors  ", ChecksumOf(weights_), "\n"));
  const absl::StatusOr<SafetensorsContent> content = ReadSafetensors(path);
  ASSERT_TRUE(content.ok()) << content.status();
  const std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                       {"job_name", "small"},
                                                       {"job_hash", job_.job_hash},
                                                       {"step", "3"},
                                                       {"weights_sha256", ChecksumOf(weights_)}};
  EXPECT_EQ(content->metadata, metadata);
  ASSERT_EQ(content->tensors.size(), weights_.values.size());
  for (size_t i = 0; i < weights_.values.size(); ++i) {
    EXPECT_EQ(content->tensors[i].name, job_.job.model.tensors[i].name);
    EXPECT_EQ(content->tensors[i].shape, job_.job.model.tensors[i].shape);
    EXPECT_EQ(content->tensors[i].values, weights_.values[i]);
  }
}

TEST_F(PdctlTest, ExportToNowhere) {
  EXPECT_EQ(Failure("export /no/such/w.safetensors"),
            "pdctl: cannot write /no/such/w.safetensors: No such file or directory\n");
}

TEST_F(PdctlTest, TheJobCanBeTrainedAgain) {
  const absl::StatusOr<Job> job = ParseJob(Show("job"), "pdctl job");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(JobHash(*job), job_.job_hash);
}

TEST_F(PdctlTest, HealthOfEveryShard) {
  for (int shard = 0; shard < 2; ++shard) {
    EXPECT_EQ(Show(absl::StrCat("health --server=", cluster_->address(shard))), "SERVING\n");
  }
}

TEST_F(PdctlTest, OtherShardsSayThatTheyAreNotTheCoordinator) {
  EXPECT_THAT(Failure(absl::StrCat("status --server=", cluster_->address(1))),
              HasSubstr("is not a coordinator: shard 0 is"));
}

TEST_F(PdctlTest, AClosedPipeIsNoError) {
  const Result result =
      Shell(absl::StrCat("pdctl stats --last=99 --server=", cluster_->coordinator(), " | true"));
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
}

// No step comes for as long as the test runs.
TEST(PdctlWatchTest, EndsWhenItsReaderHasGone) {
  ServersOnly servers(MadeUpJob(100), 1);
  servers.TrainStep();
  const Result result =
      Shell(absl::StrCat("{ pdctl stats --watch --last=1 --server=", servers.coordinator(),
                         "; echo code $? >&2; } | head -1"));
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(Lines(result.out), SizeIs(1));
  EXPECT_EQ(result.err, "code 0\n");
}

TEST(PdctlUsageTest, OutputThatCannotBeWritten) {
  for (const char* arguments : {"--help", "--version", "help"}) {
    const Result result = Shell(absl::StrCat("pdctl ", arguments, " > /dev/full"));
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_EQ(result.err, "pdctl: cannot write to standard output\n");
  }
}

// What a worker says gets no further than its row, whatever it is.
TEST(PdctlUntrustedTest, TextOfOthersIsEscaped) {
  ServersOnly servers(MadeUpJob(100), 1);
  const auto stub = MakeCoordinatorStub(servers.coordinator(), absl::Seconds(10));
  const Cluster client({servers.coordinator()});
  for (int i = 0; client.GetProgress()->state != TrainingState::kFailed; ++i) {
    ASSERT_LT(i, 100);
    const std::string worker = absl::StrCat("w", i % 2);
    const absl::StatusOr<Lease> lease = Acquire(*stub, worker);
    ASSERT_TRUE(lease.ok()) << lease.status();
    LeaseResult result;
    result.generation = lease->generation;
    result.lease_id = lease->id;
    result.worker = worker;
    result.leaving = true;  // no other lease, please
    result.failure = "bad\nforged          row\x1b[31m";
    EXPECT_TRUE(stub->CompleteLease(result).ok());
  }
  const Result status = Pdctl(absl::StrCat("status --server=", servers.coordinator()));
  EXPECT_THAT(status.out, HasSubstr("bad\\nforged          row\\x1b[31m"));
  EXPECT_THAT(Lines(status.out), Not(Contains(StartsWith("forged"))));

  // A training that has failed: nothing is to be had here any more.
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  Result health;
  do {
    health = Pdctl(absl::StrCat("health --server=", servers.coordinator()));
  } while (health.code == 0 && absl::Now() < give_up);
  EXPECT_EQ(health.code, 1);
  EXPECT_THAT(health.err, HasSubstr("NOT_SERVING"));
}

TEST_F(PdctlTest, AFullDiskIsAnError) {
  const Result result =
      Shell(absl::StrCat("pdctl job --server=", cluster_->coordinator(), " > /dev/full"));
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "pdctl: cannot write to standard output\n");
}

TEST(PdctlWatchTest, ShowsStepsAsTheyHappenUntilInterrupted) {
  ServersOnly servers(MadeUpJob(100), 2);
  EXPECT_EQ(Pdctl("stats --server=" + servers.coordinator()).out, "no step is finished yet\n");
  Process watch({kPdctl, "--server=" + servers.coordinator(), "stats", "--watch"});
  for (int step = 0; step < 3; ++step) {
    servers.TrainStep();
    EXPECT_TRUE(watch.AwaitOutput(absl::StrCat("      ", step, "  b/scale"))) << watch.output();
  }
  watch.Signal(SIGINT);
  EXPECT_EQ(watch.Wait(), -SIGINT);
  EXPECT_THAT(Lines(watch.output()), SizeIs(1 + 3 * 4));  // nothing else, and headings only once
}

TEST(PdctlWatchTest, EndsWithTheServer) {
  auto servers = std::make_unique<ServersOnly>(MadeUpJob(100), 1);
  Process watch({kPdctl, "--server=" + servers->coordinator(), "stats", "--watch"});
  for (int slot = 0; slot < 2; ++slot) {
    const absl::Status status =
        servers->Push(0, slot, RandomGradient(servers->cluster_job().job.model, slot));
    ASSERT_TRUE(status.ok()) << status;
  }
  ASSERT_TRUE(watch.AwaitOutput("b/scale"));
  servers.reset();
  EXPECT_NE(watch.Wait(), Process::kTimeout);
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// The commands of the binary pdctl, against real clusters.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cluster.h"
#include "client/coordinator_stub.h"
#include "common/base/safetensors.h"
#include "common/job/job_codec.h"
#include "deploy/local/cluster.h"
#include "nlohmann/json.hpp"
#include "tests/client/pdctl/run_pdctl.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

absl::StatusOr<Lease> Acquire(CoordinatorStub& stub, const std::string& worker) {
  return stub.AcquireLease({worker, "a"}, absl::Seconds(1));
}

// A finished training, for commands that only read.
class PdctlTest : public ::testing::Test {
 protected:
  static constexpr int kSteps = 3;

  static void SetUpTestSuite() {
    LocalCluster::Options options = SmallOptions(SmallMnistJob(kSteps));
    options.shards = 2;
    ASSERT_OK_AND_ASSIGN(std::unique_ptr<LocalCluster> cluster, LocalCluster::Start(options));
    cluster_ = cluster.release();
    ASSERT_OK(cluster_->AwaitWorkers());
    const Cluster client({cluster_->coordinator()});
    info_ = *client.GetJob();
    weights_ = *client.PullWeights(info_, kSteps);
  }

  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }

  // Runs pdctl, expects success, and returns its output.
  static std::string Show(const std::string& arguments) {
    const CommandResult result =
        Pdctl(absl::StrCat("--server=", cluster_->coordinator(), " ", arguments));
    EXPECT_EQ(result.code, 0) << arguments;
    EXPECT_EQ(result.err, "") << arguments;
    return result.out;
  }

  // Runs pdctl, expects exit code 1, and returns the error, which must be one line.
  static std::string Failure(const std::string& arguments) {
    const CommandResult result =
        Pdctl(absl::StrCat("--server=", cluster_->coordinator(), " ", arguments));
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_THAT(Lines(result.err), SizeIs(1)) << arguments;
    return result.err;
  }

  static LocalCluster* cluster_;
  static ClusterInfo info_;
  static Weights weights_;
};

LocalCluster* PdctlTest::cluster_ = nullptr;
ClusterInfo PdctlTest::info_;
Weights PdctlTest::weights_;

TEST_F(PdctlTest, StatusIsAnOverview) {
  EXPECT_THAT(
      Lines(Show("status")),
      IsSupersetOf(
          {MatchesRegex("state +finished"), MatchesRegex("job +small, sha256 " + info_.job_hash),
           MatchesRegex("step +3 of 3"), MatchesRegex("loss +.* at step 2"),
           MatchesRegex("test accuracy +.* % at step 3"), MatchesRegex("workers +.*arithmetic .*"),
           MatchesRegex("shards +2, generation .*"),
           MatchesRegex("leases +0 expired, 0 failed, 0 done twice, 0 given to a second worker")}));
}

TEST_F(PdctlTest, ProgressIsTheCurves) {
  const std::vector<std::string> csv = Lines(Show("progress --format=csv"));
  ASSERT_THAT(csv, SizeIs(5));  // headings, steps 0 to 2, the last evaluation
  EXPECT_EQ(csv[0], "step,loss,accuracy,test_loss,test_accuracy,seconds");
  EXPECT_THAT(csv[4], StartsWith("3,,,"));
  EXPECT_THAT(Lines(Show("progress")), SizeIs(5));
  EXPECT_THAT(Lines(Show("progress --last=2 --format=csv")), SizeIs(3));
  const auto json = nlohmann::json::parse(Show("progress --format=json"));
  EXPECT_EQ(json["training"][2]["step"], 2);
}

TEST_F(PdctlTest, ReportIsThatOfPdLocal) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/a/b";
  Show("stats --watch");  // until the last step's have arrived
  EXPECT_EQ(Show("report " + path), path + "/report.html  step 3\n");
  EXPECT_EQ(ReadFile(path + "/progress.csv"), Show("progress --format=csv"));
  EXPECT_EQ(ReadFile(path + "/statistics.csv"), Show("stats --last=100 --format=csv"));
  EXPECT_THAT(ReadFile(path + "/report.html"), HasSubstr(ChecksumOf(weights_)));
  WriteFile(directory.path() + "/file", "");
  EXPECT_THAT(Failure("report " + directory.path() + "/file"), HasSubstr("/file"));
}

// Two workers, which compute differently, ask for work.
TEST(PdctlAnyArithmeticTest, SaysThatTheBitsAreNotPromised) {
  Job job = SmallMnistJob(1);
  job.evaluation.reset();
  job.gradients_per_step = 2;
  job.any_arithmetic = true;
  LocalCluster::Options options = SmallOptions(std::move(job));
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  AwaitGeneration(cluster->coordinator());
  const std::string server = absl::StrCat("--server=", cluster->coordinator());
  const auto stub = MakeCoordinatorStub(cluster->coordinator(), absl::Seconds(10));
  ASSERT_OK(stub->AcquireLease({"first", "fma-2"}, absl::Seconds(10)));
  ASSERT_OK(stub->AcquireLease({"second", "torch cuda"}, absl::Seconds(10)));
  const std::string note =
      "any_arithmetic: the weights depend on which worker computed which "
      "gradient";
  EXPECT_THAT(Lines(Pdctl(server + " status").out),
              IsSupersetOf({MatchesRegex("workers +2, arithmetic fma-2 and torch cuda"),
                            MatchesRegex("reproducible +no, " + note)}));
  const auto json = nlohmann::json::parse(Pdctl(server + " status --format=json").out);
  EXPECT_EQ(json["arithmetic"], "fma-2");
  EXPECT_EQ(json["any_arithmetic"], true);
  EXPECT_EQ(json["other_arithmetic"], nlohmann::json::array({"torch cuda"}));
  EXPECT_THAT(Pdctl(server + " checksum").out, MatchesRegex("[0-9a-f]+  step 0  " + note + "\n"));
  const TemporaryDirectory directory;
  EXPECT_THAT(Pdctl(absl::StrCat(server, " export ", directory.path(), "/w.safetensors")).out,
              MatchesRegex(".*  step 0  .*  " + note + "\n"));
}

TEST_F(PdctlTest, CheckpointNeedsADirectoryInTheJob) {
  EXPECT_THAT(Failure("checkpoint"), HasSubstr("add checkpoint { every_steps, directory }"));
}

// The disk fails during a training, which continues: the status shows the error and a counter.
TEST(PdctlCheckpointTest, StatusShowsCheckpointsThatFail) {
  const TemporaryDirectory temporary;
  const std::string directory = temporary.path() + "/checkpoints";
  Job job = SmallMnistJob(4);
  job.checkpoint = CheckpointSpec{2, directory, 2};
  LocalCluster::Options options = SmallOptions(std::move(job));
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  const std::string server = absl::StrCat("--server=", cluster->coordinator());
  AwaitGeneration(cluster->coordinator());
  EXPECT_THAT(Lines(Pdctl(server + " status").out), Contains(MatchesRegex("checkpoint +none yet")));
  std::filesystem::remove_all(directory);
  std::ofstream(directory) << "in its place";
  cluster->AddWorker();
  ASSERT_OK(cluster->AwaitWorkers());
  EXPECT_THAT(Lines(Pdctl(server + " status").out),
              AllOf(Contains(MatchesRegex("state +finished")),
                    Contains(MatchesRegex("checkpoint +none yet, the next one is being written; "
                                          "the last one FAILED: shard 0: .*" +
                                          directory + ".*"))));
  const auto json = nlohmann::json::parse(Pdctl(server + " status --format=json").out);
  EXPECT_EQ(json["checkpoint"]["step"], -1);
  EXPECT_GE(json["checkpoint"]["failures"], 1);
  EXPECT_THAT(json["checkpoint"]["error"].get<std::string>(), HasSubstr(directory));

  // The servers keep trying, as no other checkpoint follows.
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
  EXPECT_EQ(json["job_hash"], info_.job_hash);
  EXPECT_EQ(json["step"], 3);
  EXPECT_EQ(json["max_steps"], 3);
  EXPECT_EQ(json["shards"], 2);
  EXPECT_EQ(json["generation"], info_.generation);
  EXPECT_EQ(json["last_training"]["step"], 2);
  EXPECT_EQ(json["last_evaluation"]["step"], 3);
  EXPECT_EQ(json["seconds_left"], 0);
}

TEST_F(PdctlTest, StatisticsOfTheLastStepUnlessAskedForMore) {
  const size_t tensors = info_.job.model.tensors.size();
  EXPECT_THAT(Lines(Show("stats")), SizeIs(1 + tensors));
  EXPECT_THAT(Lines(Show("stats --last=2")), SizeIs(1 + 2 * tensors));
  EXPECT_THAT(Lines(Show("stats --last=99 --layer=fc1 --format=csv")), SizeIs(1 + kSteps * 2));
  const auto json = nlohmann::json::parse(Show("stats --format=json --last=2"));
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[1]["step"], 2);
  EXPECT_EQ(json[1]["updates"][0]["tensor"], "conv1/weights");
  EXPECT_GT(json[1]["updates"][0]["relative_delta"], 0);
}

TEST_F(PdctlTest, UnknownLayersAreNamedWithTheKnownOnes) {
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
  const CommandResult result =
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
  ASSERT_OK_AND_ASSIGN(const SafetensorsContent content, ReadSafetensors(path));
  const std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                       {"job_name", "small"},
                                                       {"job_hash", info_.job_hash},
                                                       {"step", "3"},
                                                       {"weights_sha256", ChecksumOf(weights_)}};
  EXPECT_EQ(content.metadata, metadata);
  ASSERT_EQ(content.tensors.size(), weights_.values.size());
  for (size_t i = 0; i < weights_.values.size(); ++i) {
    EXPECT_EQ(content.tensors[i].name, info_.job.model.tensors[i].name);
    EXPECT_EQ(content.tensors[i].shape, info_.job.model.tensors[i].shape);
    EXPECT_EQ(content.tensors[i].values, weights_.values[i]);
  }
}

TEST_F(PdctlTest, ExportToNowhere) {
  EXPECT_EQ(Failure("export /no/such/w.safetensors"),
            "pdctl: cannot write /no/such/w.safetensors: No such file or directory\n");
}

TEST_F(PdctlTest, TheJobCanBeTrainedAgain) {
  ASSERT_OK_AND_ASSIGN(const Job job, ParseJob(Show("job"), "pdctl job"));
  EXPECT_EQ(JobHash(job), info_.job_hash);
}

TEST_F(PdctlTest, HealthOfEveryShard) {
  for (int shard = 0; shard < 2; ++shard) {
    EXPECT_EQ(Show(absl::StrCat("health --server=", cluster_->address(shard))), "SERVING\n");
  }
}

TEST_F(PdctlTest, OtherShardsAreNotTheCoordinator) {
  EXPECT_THAT(Failure(absl::StrCat("status --server=", cluster_->address(1))),
              HasSubstr("is not the coordinator, which is shard 0"));
}

TEST_F(PdctlTest, AClosedPipeIsNotAnError) {
  const CommandResult result =
      Shell(absl::StrCat("pdctl stats --last=99 --server=", cluster_->coordinator(), " | true"));
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
}

// No step completes while the test runs.
TEST(PdctlWatchTest, EndsWhenItsReaderHasGone) {
  ServersOnly servers(MadeUpJob(100), 1);
  servers.TrainStep();
  const CommandResult result =
      Shell(absl::StrCat("{ pdctl stats --watch --last=1 --server=", servers.coordinator(),
                         "; echo code $? >&2; } | head -1"));
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(Lines(result.out), SizeIs(1));
  EXPECT_EQ(result.err, "code 0\n");
}

// Text from a worker cannot leave its row.
TEST(PdctlUntrustedTest, TextOfPeersIsEscaped) {
  ServersOnly servers(MadeUpJob(100), 1);
  const auto stub = MakeCoordinatorStub(servers.coordinator(), absl::Seconds(10));
  const Cluster client({servers.coordinator()});
  for (int i = 0; client.GetProgress()->state != TrainingState::kFailed; ++i) {
    ASSERT_LT(i, 100);
    const std::string worker = absl::StrCat("w", i % 2);
    ASSERT_OK_AND_ASSIGN(const Lease lease, Acquire(*stub, worker));
    LeaseResult result;
    result.generation = lease.generation;
    result.lease_id = lease.id;
    result.worker = worker;
    result.leaving = true;  // the result must not be another lease
    result.failure = "bad\nforged          row\x1b[31m";
    EXPECT_OK(stub->CompleteLease(result));
  }
  const CommandResult status = Pdctl(absl::StrCat("status --server=", servers.coordinator()));
  EXPECT_THAT(status.out, HasSubstr("bad\\nforged          row\\x1b[31m"));
  EXPECT_THAT(Lines(status.out), Not(Contains(StartsWith("forged"))));

  // The servers of a failed training report that they no longer serve.
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  CommandResult health;
  do {
    health = Pdctl(absl::StrCat("health --server=", servers.coordinator()));
  } while (health.code == 0 && absl::Now() < give_up);
  EXPECT_EQ(health.code, 1);
  EXPECT_THAT(health.err, HasSubstr("NOT_SERVING"));
}

TEST_F(PdctlTest, AFullDiskIsAnError) {
  const CommandResult result =
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
    ASSERT_OK(servers->Push(0, slot, RandomGradient(servers->cluster_info().job.model, slot)));
  }
  ASSERT_TRUE(watch.AwaitOutput("b/scale"));
  servers.reset();
  EXPECT_NE(watch.Wait(), Process::kTimeout);
}

}  // namespace
}  // namespace percentdelta

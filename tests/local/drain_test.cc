// SPDX-License-Identifier: Apache-2.0

// Clusters of processes that operators pause, drain and start again, on other machines and on other
// numbers of shards: the weights are those of an undisturbed training.

#include <signal.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cluster.h"
#include "common/base/client_security.h"
#include "common/job/job_codec.h"
#include "common/transport/credentials.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/certificates.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kSteps = 30;
constexpr absl::Duration kPoll = absl::Milliseconds(5);

// With certificates, if the parameter is true.
class DrainTest : public testing::TestWithParam<bool> {
 protected:
  DrainTest() {
    WriteSmallDataSets(directory_.path());
    Job job = SmallMnistJob(kSteps);
    job.checkpoint = CheckpointSpec{5, directory_.path() + "/checkpoints", 3};
    WriteFile(directory_.path() + "/job.textproto", JobToText(job));
    if (!GetParam()) return;
    const TestCa ca;
    ca.WriteAll(directory_.path(), 3);
    // Of another machine.
    ca.Issue(directory_.path(), "moved", {UriOf("server", "shard-1"), {"IP:127.0.0.2"}});
  }

  static const std::string& Undisturbed() {
    static const std::string kChecksum = TrainAndChecksum(SmallOptions(SmallMnistJob(kSteps)));
    return kChecksum;
  }

  // The command with the flags of a certificate.
  std::vector<std::string> As(const std::string& name, std::vector<std::string> command) const {
    if (!GetParam()) return command;
    const std::string path = absl::StrCat(directory_.path(), "/", name);
    command.push_back(absl::StrCat("--tls_ca=", directory_.path(), "/ca.pem"));
    command.push_back(absl::StrCat("--tls_cert=", path, ".pem"));
    command.push_back(absl::StrCat("--tls_key=", path, ".key"));
    return command;
  }

  Process StartShard(int shard, int shards, const std::string& listen = "127.0.0.1:0",
                     const std::string& certificate = "") const {
    std::vector<std::string> command = {PD_SERVER,
                                        "--listen=" + listen,
                                        absl::StrCat("--shard=", shard),
                                        absl::StrCat("--shards=", shards),
                                        "--threads=1",
                                        "--job=" + directory_.path() + "/job.textproto"};
    if (shard > 0) command.push_back("--coordinator=" + coordinator_);
    return Process(As(certificate.empty() ? absl::StrCat("shard-", shard) : certificate, command));
  }

  // Starts shards and workers.
  void Start(int shards, int workers) {
    servers_.clear();
    servers_.push_back(StartShard(0, shards));
    coordinator_ = ListenAddress(servers_.front());
    for (int shard = 1; shard < shards; ++shard) servers_.push_back(StartShard(shard, shards));
    workers_.clear();
    for (int worker = 0; worker < workers; ++worker) {
      workers_.emplace_back(As("worker", {PD_WORKER, "--threads=1", "--data=" + directory_.path(),
                                          "--coordinator=" + coordinator_}));
    }
  }

  Process Pdctl(const std::string& command) const {
    return Process(As("operator", {PD_PDCTL, "--server=" + coordinator_, command}));
  }

  Cluster Client() const {
    Cluster::Options options;
    options.coordinator = coordinator_;
    if (GetParam()) {
      options.credentials = *ClientCredentials::Make({TlsFilesIn(directory_.path(), "operator")});
    }
    return Cluster(options);
  }

  void AwaitStep(int64_t step) const {
    const Cluster client = Client();
    while (client.GetProgress(kSteps).value_or(Progress()).step < step) absl::SleepFor(kPoll);
  }

  // Waits for the end of the training, and compares its weights.
  void ExpectUndisturbed() {
    for (Process& worker : workers_) {
      EXPECT_EQ(worker.Wait(absl::Minutes(5)), 0) << worker.output();
    }
    const Cluster client = Client();
    ASSERT_OK_AND_ASSIGN(const ClusterInfo info, client.GetJob());
    ASSERT_OK_AND_ASSIGN(const Weights weights, client.PullWeights(info, kSteps));
    EXPECT_EQ(ChecksumOf(weights), Undisturbed());
  }

  const TemporaryDirectory directory_;
  std::string coordinator_;
  std::vector<Process> servers_;
  std::vector<Process> workers_;
};

INSTANTIATE_TEST_SUITE_P(Connection, DrainTest, testing::Bool(),
                         [](const auto& with_tls) { return with_tls.param ? "Tls" : "Plaintext"; });

TEST_P(DrainTest, PauseAndResumeDoNotChangeTheWeights) {
  Start(2, 2);
  AwaitStep(2);
  EXPECT_EQ(Pdctl("pause").Wait(), 0);
  const Cluster client = Client();
  const auto await = [&](auto is_reached) {
    Progress progress;
    while (!is_reached(progress)) {
      absl::SleepFor(kPoll);
      progress = client.GetProgress(kSteps).value_or(Progress());
    }
    return progress;
  };
  const Progress paused = await([](const Progress& progress) {
    return progress.message.find("with 0 leases") != std::string::npos;
  });
  EXPECT_LT(paused.step, kSteps);
  Process status = Pdctl("status");
  EXPECT_EQ(status.Wait(), 0);
  EXPECT_THAT(status.output(), HasSubstr("paused: by an operator"));
  servers_[1].Signal(SIGKILL);  // the pause outlasts a generation
  servers_[1] = StartShard(1, 2);
  const Progress again = await([&](const Progress& progress) {
    return progress.generation > paused.generation && progress.state != TrainingState::kGathering;
  });
  EXPECT_EQ(again.state, TrainingState::kPaused);
  EXPECT_LE(again.step, paused.step);
  EXPECT_EQ(Pdctl("resume").Wait(), 0);
  ExpectUndisturbed();
}

// Also adds a shard, as a cluster that has become too small needs it.
TEST_P(DrainTest, DrainEndsAllProcessesWithCodeZeroAndMoreShardsContinue) {
  Start(2, 2);
  AwaitStep(2);
  Process drain = Pdctl("drain");
  EXPECT_EQ(drain.Wait(), 0) << drain.output();
  EXPECT_THAT(drain.output(), AllOf(HasSubstr("checkpoint  step "), HasSubstr("drained  step ")));
  for (Process& server : servers_) {
    EXPECT_EQ(server.Wait(), 0) << server.output();
    EXPECT_THAT(server.output(), AllOf(HasSubstr("drained: "), HasSubstr("stopped")));
  }
  for (Process& worker : workers_) {
    EXPECT_EQ(worker.Wait(), 0) << worker.output();
    EXPECT_THAT(worker.output(), HasSubstr("the cluster is drained: the training continues"));
  }
  Start(3, 1);
  AwaitStep(3);  // not from the beginning
  ExpectUndisturbed();
}

// The machine of a shard is lost; another one takes its place, at another address.
TEST_P(DrainTest, ShardThatDiedIsReplacedAtAnotherAddressUnderLoad) {
  Start(2, 2);
  AwaitStep(6);
  servers_[1].Signal(SIGKILL);
  servers_[1] = StartShard(1, 2, "127.0.0.2:0", "moved");
  ASSERT_TRUE(servers_[1].AwaitOutput("in generation"));
  EXPECT_THAT(Client().GetJob()->shard_addresses[1], HasSubstr("127.0.0.2:"));
  ExpectUndisturbed();
}

// The machine of a shard is to be freed while it still works: its successor takes over, and it
// ends.
TEST_P(DrainTest, ShardIsReplacedAtAnotherAddressWhileItWorks) {
  Start(2, 2);
  AwaitStep(6);
  Process successor = StartShard(1, 2, "127.0.0.2:0", "moved");
  EXPECT_EQ(servers_[1].Wait(), 3) << servers_[1].output();  // no supervisor starts it again
  EXPECT_THAT(servers_[1].output(), HasSubstr("refused by coordinator"));
  ExpectUndisturbed();
  EXPECT_THAT(Client().GetJob()->shard_addresses[1], HasSubstr("127.0.0.2:"));
}

}  // namespace
}  // namespace percentdelta

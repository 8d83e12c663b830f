// SPDX-License-Identifier: Apache-2.0

// The command lines of the binaries: exit code 2 and one line for those that are invalid.

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/role.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/local/process.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The last flag is not HOST:PORT, or not an address that others can connect to.
TEST(CommandLineTest, InvalidAddresses) {
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

TEST(CommandLineTest, InvalidJobs) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/broken.textproto";
  WriteFile(path, "name: \"x\"\nmodel { tensors: 7 }\n");
  Process server({PD_SERVER, "--listen=127.0.0.1:0", "--job=" + path});
  EXPECT_EQ(server.Wait(), 2);
  EXPECT_THAT(server.output(), HasSubstr(path + ":2:"));
  Process absent({PD_SERVER, "--listen=127.0.0.1:0", "--job=/nowhere/job.textproto"});
  EXPECT_EQ(absent.Wait(), 2);
  EXPECT_THAT(absent.output(), HasSubstr("/nowhere/job.textproto"));
}

TEST(CommandLineTest, InvalidCommandLines) {
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

TEST(CommandLineTest, FlagsOutOfRange) {
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
           {{PD_PDCTL, "status", "--server=:1"}, "--server: expected HOST:PORT"},
           {{PD_SERVER, "--listen=0.0.0.0:0"}, "0.0.0.0:0 can be reached from other machines"},
           {{PD_SERVER, "--shard=1", "--shards=2", "--coordinator=other:1"},
            "coordinator: other:1 is not a loopback address"},
           {{PD_SERVER, "--tls_cert=/nowhere"}, "tls_ca: expected a PEM file, got nothing"},
           {{PD_SERVER, "--token_file=/nowhere", "--listen=0.0.0.0:0", "--insecure"},
            "token_file: expected tls_ca"},
           {{PD_WORKER, "--coordinator=other:1"}, "--coordinator: other:1 is not a loopback"},
           {{PD_WORKER, "--token_file=/nowhere"}, "token_file: /nowhere: No such file"},
           {{PD_PDCTL, "status", "--server=other:1"}, "--server: other:1 is not a loopback"},
           {{PD_PDCTL, "token", "worker"}, "token: expected --token_file=FILE"}}) {
    SCOPED_TRACE(absl::StrJoin(command, " "));
    Process process(command);
    EXPECT_EQ(process.Wait(), 2) << process.output();
    const std::string output = process.output();
    EXPECT_THAT(output, HasSubstr(message));
    EXPECT_EQ(std::count(output.begin(), output.end(), '\n'), 1) << output;
  }
}

TEST(CommandLineTest, ServesEverybodyOnlyIfToldSoAndSaysSoOnce) {
  Process server({PD_SERVER, "--listen=0.0.0.0:0", "--insecure"});
  EXPECT_TRUE(server.AwaitOutput("INSECURE: "));
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  const std::string output = server.output();
  EXPECT_EQ(output.find("INSECURE"), output.rfind("INSECURE"));
}

TEST(CommandLineTest, ATokenIsWrittenToAFileAndNotPrinted) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/worker.token";
  Process made({PD_PDCTL, "token", "worker", "--token_file=" + path});
  EXPECT_EQ(made.Wait(), 0);
  const std::string token = ReadFile(path).substr(0, 43);
  EXPECT_EQ(made.output(), absl::StrCat("worker ", HashOfToken(token), "\n"));
  struct stat status = {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600);
  Process again({PD_PDCTL, "token", "worker", "--token_file=" + path});
  EXPECT_EQ(again.Wait(), 1);
  EXPECT_THAT(again.output(), HasSubstr("File exists"));
  Process other({PD_PDCTL, "token", "admin", "--token_file=" + path + "2"});
  EXPECT_EQ(other.Wait(), 1);
  EXPECT_THAT(other.output(), HasSubstr("expected the role server, worker, operator or viewer"));
}

TEST(CommandLineTest, ChecksTheReportsDirectoryBeforeTheTraining) {
  Process local({PD_LOCAL, "--report=/proc/x", "--data=/nowhere"});
  EXPECT_EQ(local.Wait(), 1);
  EXPECT_THAT(local.output(), HasSubstr("cannot create the directory /proc/x"));
}

TEST(CommandLineTest, HelpListsTheFlags) {
  for (const auto& [program, flag] :
       std::vector<std::pair<std::string, std::string>>{{PD_SERVER, "--lease_deadline"},
                                                        {PD_WORKER, "--give_up_after"},
                                                        {PD_LOCAL, "--report"}}) {
    Process process({program, "--help"});
    EXPECT_EQ(process.Wait(), 0);
    EXPECT_THAT(process.output(), AllOf(HasSubstr(flag), HasSubstr("--threads")));
    EXPECT_EQ(absl::StrContains(process.output(), "--tls_cert"), program != PD_LOCAL);
  }
}

}  // namespace
}  // namespace percentdelta

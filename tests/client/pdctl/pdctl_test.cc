// SPDX-License-Identifier: Apache-2.0

// The command line of the binary pdctl: usage, exit codes and error messages.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/client/pdctl/run_pdctl.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(PdctlUsageTest, InvalidCommandLines) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"nonsense",
       "unknown command \"nonsense\": expected status, progress, stats, checksum, export, report, "
       "checkpoint, pause, resume, drain, job, health"},
      {"--bogus status", "there is no flag --bogus"},
      {"status --bogus=1", "there is no flag --bogus"},
      {"stats --last=ten", "--last: invalid value \"ten\""},
      {"stats --last", "--last: expected a value after it"},
      {"stats --watch=maybe", "--watch: invalid value \"maybe\""},
      {"stats --format=xml", "--format: expected table, json or csv, got \"xml\""},
      {"status --format=csv", "status: expected --format=table or json, got csv"},
      {"stats --last=0", "--last: expected at least 1, got 0"},
      {"stats --last=-3", "--last: expected at least 1, got -3"},
      {"status --watch", "status does not take --watch"},
      {"status --nowatch", "status does not take --watch"},
      {"status --last=1", "status does not take --last"},
      {"progress --last=0", "--last: expected at least 1, got 0"},
      {"progress --watch", "progress does not take --watch"},
      {"status --last=2", "status does not take --last"},
      {"checksum --format=table", "checksum does not take --format"},
      {"job --layer=", "job does not take --layer"},
      {"health --connect_to=", "health does not take --connect_to"},
      {"checksum --layer=conv1", "checksum does not take --layer"},
      {"export", "export: expected FILE.safetensors after it"},
      {"report", "report: expected DIRECTORY after it"},
      {"export a b", "export: unexpected argument \"b\""},
      {"status now", "status: unexpected argument \"now\""},
      {"status --server=localhost", "--server: expected HOST:PORT, as in 127.0.0.1:5000"},
      {"status --server=localhost:x", "--server: expected HOST:PORT"},
      {"status --server=localhost:70000", "--server: expected HOST:PORT"},
      {"status --deadline=0", "--deadline: expected a positive time"},
      {"checksum --connect_to=a:1", "--connect_to: expected HOST:PORT=HOST:PORT"},
      {"checksum --connect_to=a:1=b:2,c=d:3", "got \"c=d:3\""},
      {"stats --connect_to=a:1=b:2", "stats does not take --connect_to"}};
  for (const auto& [arguments, message] : cases) {
    const CommandResult result = Pdctl(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_THAT(Lines(result.err), SizeIs(1)) << arguments;
    EXPECT_THAT(result.err, AllOf(StartsWith("pdctl: "), HasSubstr(message), HasSubstr("--help")))
        << arguments;
  }
}

TEST(PdctlUsageTest, HelpGoesToStandardOutput) {
  const CommandResult help = Pdctl("--help");
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* word : {"status", "progress", "stats", "checksum", "export FILE.safetensors",
                           "job", "health", "--server=HOST:PORT", "127.0.0.1:5000", "--layer",
                           "--last", "--watch", "--format=table|json|csv", "Exit codes"}) {
    EXPECT_THAT(help.out, HasSubstr(word));
  }
  EXPECT_EQ(Pdctl("status -h").out, help.out);
  EXPECT_EQ(Pdctl("help").out, help.out);

  const CommandResult nothing = Pdctl("");
  EXPECT_EQ(nothing.code, 2);
  EXPECT_EQ(nothing.out, "");
  EXPECT_EQ(nothing.err, help.out);
}

// As with containers, whose names do not resolve on the host.
TEST(PdctlUsageTest, ShardsWhoseAddressesDoNotResolve) {
  Server::Options options;
  options.job = MadeUpJob(1);
  options.advertise = "server-0.invalid:5000";
  const Server server = *Server::Start(std::move(options));
  const std::string here = absl::StrCat("127.0.0.1:", server.port());
  AwaitGeneration(here);
  const CommandResult lost = Pdctl(absl::StrCat("--server=", here, " --deadline=1s checksum"));
  EXPECT_EQ(lost.code, 1);
  EXPECT_THAT(lost.err, AllOf(HasSubstr("server-0.invalid:5000"), HasSubstr("--connect_to")));
  const CommandResult found =
      Pdctl(absl::StrCat("--server=", here, " checksum --connect_to=server-0.invalid:5000=", here));
  EXPECT_EQ(found.code, 0) << found.err;
  EXPECT_THAT(found.out, EndsWith("  step 0\n"));
}

TEST(PdctlUsageTest, NoServer) {
  // A port at which a server used to listen.
  std::string address;
  {
    Server::Options options;
    options.job = MadeUpJob(1);
    ASSERT_OK_AND_ASSIGN(const Server server, Server::Start(std::move(options)));
    address = server.address();
  }
  for (const char* command : {"status", "progress", "stats", "stats --watch", "checksum",
                              "export never.there", "report /tmp", "job", "health"}) {
    const CommandResult result = Pdctl(absl::StrCat("--server=", address, " ", command));
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

TEST(PdctlUsageTest, OutputThatCannotBeWritten) {
  for (const char* arguments : {"--help", "--version", "help"}) {
    const CommandResult result = Shell(absl::StrCat("pdctl ", arguments, " > /dev/full"));
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_EQ(result.err, "pdctl: cannot write to standard output\n");
  }
}

}  // namespace
}  // namespace percentdelta

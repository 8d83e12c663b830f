// SPDX-License-Identifier: Apache-2.0

// How the binaries start and end: signals, whatever the parent did to them; standard output and
// error that are closed or not read; resource limits; versions.

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/job/job_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

// Well below every wait in these tests that a signal must cut short.
constexpr absl::Duration kSoon = absl::Seconds(8);

class LifecycleTest : public testing::Test {
 protected:
  LifecycleTest() {
    WriteSmallDataSets(directory_.path());
    WriteFile(job_path(), JobToText(SmallMnistJob(100000)));
  }

  std::string job_path() const { return directory_.path() + "/job.textproto"; }
  std::string job() const { return "--job=" + job_path(); }
  std::string data() const { return "--data=" + directory_.path(); }

  // A command of /bin/sh.
  static Process Shell(const std::string& command) { return Process({"/bin/sh", "-c", command}); }

  const TemporaryDirectory directory_;
};

// Accepts connections, and never answers.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(socket_, 16), 0);
    socklen_t size = sizeof(address);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  }
  ~SilentServer() { close(socket_); }

  const std::string& address() const { return address_; }

 private:
  const int socket_;
  std::string address_;
};

// ---- signals ----

// A way in which a parent can start the program ($1...), with signals ignored or blocked.
struct Parent {
  const char* name;
  const char* command;
  bool has_pid_1;  // the program is process 1 of a namespace, and exits with a code
};

constexpr Parent kParents[] = {
    {"Default", "exec \"$@\"", false},
    {"Ignored", "trap '' INT TERM; exec \"$@\"", false},
    {"Blocked",
     "exec /usr/bin/python3 -c 'import os, signal, sys\n"
     "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})\n"
     "os.execv(sys.argv[1], sys.argv[1:])' \"$@\"",
     false},
    {"Process1", "exec unshare --pid --fork --kill-child --mount-proc \"$@\"", true}};

class SignalsTest : public LifecycleTest, public testing::WithParamInterface<Parent> {
 protected:
  // Expects the program to end at a signal that it gets once it has printed `sign`. `drains`: with
  // exit code 0.
  void ExpectEnd(std::vector<std::string> program, const std::string& sign, bool drains) {
    for (const int signal : {SIGINT, SIGTERM}) {
      SCOPED_TRACE(absl::StrCat(absl::StrJoin(program, " "), " signal ", signal));
      std::vector<std::string> words = {"/bin/sh", "-c", GetParam().command, "sh"};
      words.insert(words.end(), program.begin(), program.end());
      Process process(words);
      if (GetParam().has_pid_1 && !process.AwaitOutput(sign, kSoon) &&
          absl::StrContains(process.output(), "unshare")) {
        GTEST_SKIP() << "no namespaces here: " << process.output();
      }
      ASSERT_TRUE(process.AwaitOutput(sign)) << process.output();
      kill(GetParam().has_pid_1 ? ChildOf(process.pid()) : process.pid(), signal);
      const int by_signal = GetParam().has_pid_1 ? 128 + signal : -signal;
      EXPECT_EQ(process.Wait(kSoon), drains ? 0 : by_signal) << process.output();
    }
  }

  static pid_t ChildOf(pid_t parent) {
    pid_t child = 0;
    std::ifstream(absl::StrCat("/proc/", parent, "/task/", parent, "/children")) >> child;
    EXPECT_GT(child, 0);
    return child;
  }
};

TEST_P(SignalsTest, ServersDrain) {
  ExpectEnd({PD_SERVER, "--listen=127.0.0.1:0", job()}, "in generation", true);
}

TEST_P(SignalsTest, WorkersWaitingForAClusterLeave) {
  ExpectEnd({PD_WORKER, data(), "--coordinator=127.0.0.1:1"}, "waiting for coordinator", true);
}

TEST_P(SignalsTest, OneProcessTrainingsEnd) {
  ExpectEnd({PD_LOCAL, data(), job()}, "coordinator 127.0.0.1", false);
}

TEST_P(SignalsTest, WatchingEnds) {
  ServersOnly servers(MadeUpJob(100), 1);
  servers.TrainStep();
  ExpectEnd({PD_PDCTL, "--server=" + servers.coordinator(), "stats", "--watch"}, "b/scale", false);
}

INSTANTIATE_TEST_SUITE_P(Parents, SignalsTest, testing::ValuesIn(kParents),
                         [](const auto& info) { return info.param.name; });

TEST_F(LifecycleTest, CallsThatAreNotAnsweredEndAtASignal) {
  const SilentServer server;
  for (const char* command :
       {"status", "stats", "stats --watch", "checksum", "job", "health", "checkpoint"}) {
    // The shell prints a line before it becomes the program.
    Process process =
        Shell(absl::StrCat("echo begun; exec ", PD_PDCTL, " --server=", server.address(),
                           " --deadline=60s ", command));
    ASSERT_TRUE(process.AwaitOutput("begun"));
    process.Signal(SIGINT);
    EXPECT_EQ(process.Wait(kSoon), -SIGINT) << command << process.output();
  }
}

TEST_F(LifecycleTest, WorkersThatAreNotAnsweredLeave) {
  const SilentServer server;
  for (const int signal : {SIGINT, SIGTERM}) {
    Process worker = Shell(absl::StrCat("echo begun; exec ", PD_WORKER, " ", data(),
                                        " --coordinator=", server.address()));
    ASSERT_TRUE(worker.AwaitOutput("begun"));
    worker.Signal(signal);
    // By the signal itself if the worker had not installed its handler yet.
    EXPECT_THAT(worker.Wait(kSoon), AnyOf(0, -signal)) << worker.output();
  }
}

// ---- readers of the output ----

// The read end of a named pipe that a program writes to.
class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {
    EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0);
    end_ = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fcntl(end_, F_SETFL, 0);
    writer_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  }
  ~Reader() { Leave(); }

  const std::string& path() const { return path_; }

  // Reads until `text` has arrived, and returns everything read so far.
  std::string ReadUntil(const std::string& text) {
    std::array<char, 4096> part;
    while (!absl::StrContains(all_, text)) {
      const ssize_t count = read(end_, part.data(), part.size());
      if (count <= 0) break;
      all_.append(part.data(), static_cast<size_t>(count));
    }
    return all_;
  }

  // Fills the pipe, so that writes to it block.
  void Stop() const {
    fcntl(writer_, F_SETFL, O_NONBLOCK);
    const std::string filler(512, '.');
    while (write(writer_, filler.data(), filler.size()) > 0) continue;
  }

  void Leave() {
    for (int* end : {&end_, &writer_}) {
      if (*end >= 0) close(*end);
      *end = -1;
    }
  }

 private:
  const std::string path_;
  int end_ = -1;
  int writer_ = -1;  // keeps the pipe open until the program has started
  std::string all_;
};

enum class ReaderIs { kGone, kStopped };

class ReadersTest : public LifecycleTest,
                    public testing::WithParamInterface<std::tuple<ReaderIs, std::string>> {
 protected:
  static ReaderIs reader_is() { return std::get<0>(GetParam()); }
  static std::string format() {
    return " --log_level=debug --log_format=" + std::get<1>(GetParam());
  }

  static void Disturb(Reader& reader) {
    reader_is() == ReaderIs::kGone ? reader.Leave() : reader.Stop();
  }
};

TEST_P(ReadersTest, ATrainingContinuesWithoutReadersOfItsLogs) {
  WriteFile(job_path(), JobToText(SmallMnistJob(6)));
  Reader server_log(directory_.path() + "/server.log");
  Reader worker_log(directory_.path() + "/worker.log");
  Process server = Shell(absl::StrCat("exec ", PD_SERVER, " --listen=127.0.0.1:0 ", job(), format(),
                                      " >", server_log.path(), " 2>&1"));
  const std::string address = ListenAddressIn(server_log.ReadUntil("in generation"));
  Disturb(server_log);
  Disturb(worker_log);
  Process worker = Shell(
      absl::StrCat("exec ", PD_WORKER, " ", data(), " --coordinator=", address, format(), " >",
                   reader_is() == ReaderIs::kGone ? "/dev/full" : worker_log.path(), " 2>&1"));
  EXPECT_EQ(worker.Wait(), 0);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(kSoon), 0);
}

INSTANTIATE_TEST_SUITE_P(Readers, ReadersTest,
                         testing::Combine(testing::Values(ReaderIs::kGone, ReaderIs::kStopped),
                                          testing::Values("text", "json")),
                         [](const auto& info) {
                           return absl::StrCat(
                               std::get<0>(info.param) == ReaderIs::kGone ? "Gone" : "Stopped",
                               std::get<1>(info.param) == "text" ? "Text" : "Json");
                         });

TEST_F(LifecycleTest, AOneProcessTrainingContinuesWithoutAReader) {
  WriteFile(job_path(), JobToText(SmallMnistJob(3)));
  const std::string rc = directory_.path() + "/rc";
  Process local =
      Shell(absl::StrCat("{ ", PD_LOCAL, " ", data(), " ", job(), " --trace=", directory_.path(),
                         "/trace; echo $? >", rc, "; } | true"));
  EXPECT_EQ(local.Wait(), 0);
  int code = -1;
  std::ifstream(rc) >> code;
  EXPECT_EQ(code, 0) << local.output();
}

TEST_F(LifecycleTest, OutputThatCannotBeWritten) {
  WriteFile(job_path(), JobToText(SmallMnistJob(1)));
  const std::string train = absl::StrCat(PD_LOCAL, " ", data(), " ", job());
  for (const std::string& command :
       {train, absl::StrCat(PD_LOCAL, " --help"), absl::StrCat(PD_SERVER, " --version"),
        absl::StrCat(PD_WORKER, " --help"), absl::StrCat(PD_PDCTL, " --help")}) {
    Process process = Shell(absl::StrCat("exec ", command, " >/dev/full"));
    EXPECT_EQ(process.Wait(), 1) << command;
    EXPECT_THAT(process.output(), HasSubstr("cannot write to standard output\n"));
  }
}

// If a socket got the number of a closed standard error, log lines would go to a peer.
TEST_F(LifecycleTest, StandardDescriptorsThatAreClosed) {
  WriteFile(job_path(), JobToText(SmallMnistJob(2)));
  for (const char* closed : {"<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    Process local =
        Shell(absl::StrCat("exec ", PD_LOCAL, " --verbose ", data(), " ", job(), " ", closed));
    EXPECT_EQ(local.Wait(), 0) << closed << local.output();
  }
}

// ---- limits and versions ----

bool InstrumentsMemory() {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  return true;
#endif
#endif
  return false;
}

TEST_F(LifecycleTest, LimitsAreReportedInOneLine) {
  if (InstrumentsMemory()) GTEST_SKIP() << "the sanitizer needs more address space than this";
  const std::string unprivileged =
      geteuid() == 0 ? "setpriv --reuid=54321 --regid=54321 --clear-groups " : "";
  const std::vector<std::string> programs = {
      absl::StrCat(PD_SERVER, " --listen=127.0.0.1:0"),
      absl::StrCat(PD_WORKER, " --coordinator=127.0.0.1:1 ", data()),
      absl::StrCat(PD_LOCAL, " ", data()), absl::StrCat(PD_PDCTL, " --server=127.0.0.1:1 status")};
  for (const std::string& program : programs) {
    for (const std::string& limit :
         {std::string("ulimit -v 60000; exec "), std::string("ulimit -v 80000; exec "),
          // This limit counts the user's threads on the whole machine, and does not bind root.
          absl::StrCat("exec prlimit --nproc=1 ", unprivileged),
          absl::StrCat("exec prlimit --nproc=6 ", unprivileged)}) {
      Process process = Shell(limit + program);
      const int code = process.Wait();
      const std::string output = process.output();
      SCOPED_TRACE(absl::StrCat(limit, program, "\n", output));
      EXPECT_THAT(code, AnyOf(1, 2, 127));
      EXPECT_THAT(output, Not(HasSubstr("terminate called")));
      EXPECT_THAT(output, AnyOf(MatchesRegex("pd[a-z-]+: [^\n]*(limits: |no more)[^\n]*\n"),
                                HasSubstr("error while loading shared libraries"),
                                HasSubstr("no server answers"), HasSubstr("failed to execute"),
                                HasSubstr("Permission denied")));
    }
  }
}

TEST_F(LifecycleTest, AJobThatDoesNotFitIsOneLine) {
  if (InstrumentsMemory()) GTEST_SKIP() << "the sanitizer itself refuses such allocations";
  Job job = SmallMnistJob(3);
  job.model.tensors[4].shape = {3136, 102400000};
  WriteFile(job_path(), JobToText(job));
  Process server = Shell(absl::StrCat("ulimit -v 20000000; exec ", PD_SERVER,
                                      " --listen=127.0.0.1:0 --job=", job_path()));
  EXPECT_THAT(server.Wait(), AnyOf(1, 2));
  EXPECT_THAT(server.output(), AllOf(HasSubstr("pd-server: "), Not(HasSubstr("terminate called"))));
}

TEST_F(LifecycleTest, ProgramsPrintTheirVersion) {
  for (const auto& [program, name] :
       std::vector<std::pair<std::string, std::string>>{{PD_SERVER, "pd-server"},
                                                        {PD_WORKER, "pd-worker"},
                                                        {PD_LOCAL, "pd-local"},
                                                        {PD_PDCTL, "pdctl"}}) {
    Process process({program, "--version"});
    EXPECT_EQ(process.Wait(), 0);
    EXPECT_THAT(process.output(), MatchesRegex(name + " [0-9.]+ \\(revision [-+._/0-9A-Za-z]+\\)\n"
                                                      "gRPC [0-9.]+, protobuf [0-9.]+\n"));
    Process help({program, "--help"});
    EXPECT_EQ(help.Wait(), 0);
    EXPECT_THAT(help.output(), HasSubstr("--version"));
  }
}

}  // namespace
}  // namespace percentdelta

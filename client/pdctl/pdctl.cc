// SPDX-License-Identifier: Apache-2.0

// pdctl: inspects a running cluster.

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/pdctl/commands.h"
#include "client/pdctl/reader_watch.h"
#include "common/base/address.h"
#include "common/base/client_security.h"
#include "common/base/limits.h"
#include "common/base/status_macros.h"
#include "common/base/stop_signals.h"
#include "common/program/command_line.h"
#include "common/program/program.h"
#include "common/program/security_flags.h"
#include "common/transport/credentials.h"

ABSL_FLAG(std::string, server, "127.0.0.1:5000", "host:port of the coordinator, shard 0");
ABSL_FLAG(std::string, token_file, "", "this user's token; token: the file to write");
ABSL_FLAG(bool, insecure, false, "connect to other machines without encryption");
ABSL_FLAG(std::string, layer, "", "stats: this layer only, as in conv1");
ABSL_FLAG(int, last, 1, "stats: the number of most recent steps");
ABSL_FLAG(bool, watch, false, "stats: then every step, until the training ends");
ABSL_FLAG(std::string, format, "table", "stats, status: table, json or csv");
ABSL_FLAG(std::vector<std::string>, connect_to, {}, "checksum, export: how to reach shards");
ABSL_FLAG(absl::Duration, deadline, absl::Seconds(10), "of each call");
ABSL_FLAG(absl::Duration, timeout, absl::Minutes(10), "drain: how long to wait for the end");

namespace percentdelta {
namespace {

constexpr char kProgram[] = "pdctl";
constexpr int kThreads = 12;  // of gRPC
constexpr absl::Duration kMaxDeadline = absl::Hours(1);
constexpr int64_t kMaxLayerBytes = 1000;
constexpr absl::Duration kCheckpointTimeout = absl::Minutes(1);

constexpr char kUsage[] = R"(Inspects a running cluster.

  pdctl [--server=HOST:PORT] COMMAND [FLAGS]

Commands:
  status                     progress and speed of the training, workers, shards, checkpoints
  progress                   loss, accuracy and the workers' metrics, step by step
  stats                      what the last step changed in each tensor, and what plain SGD would
  checksum                   SHA-256 of the weights, to compare two runs
  export FILE.safetensors    the weights, for PyTorch, NumPy and others
  report DIRECTORY           report.html with curves and statistics so far, and their tables as CSV
  checkpoint                 requests a checkpoint, and waits for it (at most a minute)
  pause                      gives out no more work; what is in progress finishes
  resume                     ends a pause, or abandons a drain that is not complete
  drain                      a checkpoint, then a clean end of all workers and servers
  job                        the job being trained, as text
  health                     SERVING, or exit code 1
  token ROLE                 makes a token, writes it to --token_file, which must not exist, and
                             prints the line for the servers' --token_file

Flags, before or after the command:
  --server=HOST:PORT         the coordinator, shard 0 (127.0.0.1:5000); for health any server
  --tls_ca=FILE --tls_cert=FILE --tls_key=FILE
                             PEM files: the cluster's CA, this user's certificate and its key
  --token_file=FILE          with this user's token, instead of a certificate
  --insecure                 connect to other machines without encryption and authentication
  --deadline=10s             how long to wait for an answer
  --connect_to=A=B[,C=D...]  checksum, export, report: connect to B for the shard at address A, as in
                             --connect_to=server-1:5000=127.0.0.1:5001
  --format=table|json|csv    status, progress, stats (status: table or json)
  --layer=NAME               stats: of one layer, as in --layer=conv1
  --last=N                   stats, progress: the N most recent steps (stats: 1, progress: all)
  --timeout=10m              drain: how long to wait for the end
  --version                  prints version, revision and libraries
  --watch                    stats: then every step as it completes, until the training ends;
                             with --format=json one object per line

Examples:
  pdctl --server=10.0.0.5:5000 status
  pdctl stats --watch --layer=fc1
  pdctl stats --last=1000 --format=csv > statistics.csv
  pdctl progress --format=csv > progress.csv

Exit codes: 0, also if the reader of the output closes it (pdctl ... | head); 1 if a call failed or
the output could not be written; 2 for an invalid command line; 130, 143 and 129 after SIGINT,
SIGTERM and SIGHUP.
)";

// A command, and what it accepts on the command line.
struct Command {
  absl::string_view name;
  absl::string_view operand;             // its name; empty: none
  std::vector<absl::string_view> flags;  // apart from --server and --deadline
};

const Command* FindCommand(const std::vector<Command>& commands, absl::string_view name) {
  const auto found = std::find_if(commands.begin(), commands.end(),
                                  [&](const Command& command) { return command.name == name; });
  return found == commands.end() ? nullptr : &*found;
}

std::vector<Command> Commands() {
  return {{"status", "", {"format"}},
          {"progress", "", {"format", "last"}},
          {"stats", "", {"format", "layer", "last", "watch"}},
          {"checksum", "", {"connect_to"}},
          {"export", "FILE.safetensors", {"connect_to"}},
          {"report", "DIRECTORY", {"connect_to"}},
          {"checkpoint", "", {}},
          {"pause", "", {}},
          {"resume", "", {}},
          {"drain", "", {"timeout"}},
          {"job", "", {}},
          {"health", "", {}},
          {"token", "ROLE", {}}};
}

std::string NamesOf(const std::vector<Command>& commands) {
  return absl::StrJoin(commands, ", ", [](std::string* text, const Command& command) {
    absl::StrAppend(text, command.name);
  });
}

absl::StatusOr<Format> FormatFromFlag() {
  const std::string text = absl::GetFlag(FLAGS_format);
  if (text == "table") return Format::kTable;
  if (text == "json") return Format::kJson;
  if (text == "csv") return Format::kCsv;
  return absl::InvalidArgumentError(
      absl::StrCat("--format: expected table, json or csv, got \"", text, "\""));
}

absl::StatusOr<std::map<std::string, std::string>> ConnectToFromFlag() {
  std::map<std::string, std::string> connect_to;
  for (const std::string& pair : absl::GetFlag(FLAGS_connect_to)) {
    const std::vector<std::string> addresses = absl::StrSplit(pair, '=');
    if (addresses.size() != 2 || !IsHostAndPort(addresses[0]) || !IsHostAndPort(addresses[1])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--connect_to: expected HOST:PORT=HOST:PORT, separated by commas, got \"", pair, "\""));
    }
    connect_to[addresses[0]] = addresses[1];
  }
  return connect_to;
}

ClientSecurity SecurityFromFlags() {
  return {TlsFilesFromFlags(), absl::GetFlag(FLAGS_token_file), absl::GetFlag(FLAGS_insecure)};
}

// Checks that the command accepts its operands and the given flags, and that their values are
// valid.
absl::Status CheckUsage(const Command& command, const std::vector<std::string>& words) {
  if (words.size() == 1 && !command.operand.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(command.name, ": expected ", command.operand, " after it"));
  }
  const size_t expected = command.operand.empty() ? 1 : 2;
  if (words.size() > expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(command.name, ": unexpected argument \"", words[expected], "\""));
  }
  for (const char* flag : {"format", "layer", "last", "watch", "connect_to", "timeout"}) {
    if (!IsGiven(flag) || absl::c_linear_search(command.flags, flag)) continue;
    return absl::InvalidArgumentError(absl::StrCat(command.name, " does not take --", flag));
  }
  RETURN_IF_ERROR(
      CheckRange("--last", absl::GetFlag(FLAGS_last), 1, std::numeric_limits<int32_t>::max()));
  RETURN_IF_ERROR(CheckRange("--layer: bytes",
                             static_cast<int64_t>(absl::GetFlag(FLAGS_layer).size()), 0,
                             kMaxLayerBytes));
  RETURN_IF_ERROR(CheckHostAndPort("--server", absl::GetFlag(FLAGS_server)));
  if (command.name == "token") {
    if (!absl::GetFlag(FLAGS_token_file).empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("token: expected --token_file=FILE, the file to write");
  }
  RETURN_IF_ERROR(CheckSecurityOf("--server", absl::GetFlag(FLAGS_server), SecurityFromFlags()));
  if (absl::GetFlag(FLAGS_deadline) <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--deadline: expected a positive time, as in 10s");
  }
  RETURN_IF_ERROR(
      CheckRange("--deadline", absl::GetFlag(FLAGS_deadline), absl::ZeroDuration(), kMaxDeadline));
  RETURN_IF_ERROR(CheckRange("--timeout", absl::GetFlag(FLAGS_timeout), absl::ZeroDuration(),
                             absl::InfiniteDuration()));
  RETURN_IF_ERROR(ConnectToFromFlag().status());
  ASSIGN_OR_RETURN(const Format format, FormatFromFlag());
  if (command.name == "status" && format == Format::kCsv) {
    return absl::InvalidArgumentError("status: expected --format=table or json, got csv");
  }
  return absl::OkStatus();
}

// Runs a command line that CheckUsage has accepted.
absl::Status Run(absl::string_view command, const std::vector<std::string>& words) {
  const std::string server = absl::GetFlag(FLAGS_server);
  const absl::Duration deadline = absl::GetFlag(FLAGS_deadline);
  if (command == "token") {
    return MakeTokenFile(words[1], absl::GetFlag(FLAGS_token_file), std::cout);
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const ClientCredentials> credentials,
                   ClientCredentials::Make(SecurityFromFlags()));
  if (command == "health") return ShowHealth(server, deadline, credentials, std::cout);

  const Cluster cluster({server, deadline, *ConnectToFromFlag(), credentials});
  if (command == "checksum") return ShowChecksum(cluster, std::cout);
  if (command == "export") return ExportToFile(cluster, words[1], std::cout);
  if (command == "report") return ReportToDirectory(cluster, words[1], std::cout);
  if (command == "checkpoint") return TakeCheckpoint(cluster, kCheckpointTimeout, std::cout);
  if (command == "pause") return PauseTraining(cluster, std::cout);
  if (command == "resume") return ResumeTraining(cluster, std::cout);
  if (command == "drain") return DrainCluster(cluster, absl::GetFlag(FLAGS_timeout), std::cout);
  if (command == "job") return ShowJob(cluster, std::cout);

  ASSIGN_OR_RETURN(const Format format, FormatFromFlag());
  if (command == "status") return ShowStatus(cluster, format, std::cout);
  const std::string layer = absl::GetFlag(FLAGS_layer);
  const int last = absl::GetFlag(FLAGS_last);
  if (command == "progress") {
    return ShowProgress(cluster, IsGiven("last") ? std::optional<int64_t>(last) : std::nullopt,
                        format, std::cout);
  }
  if (!absl::GetFlag(FLAGS_watch)) return ShowStatistics(cluster, layer, last, format, std::cout);
  // A step may take long: detect a reader that has gone even before the next one.
  const ReaderWatch reader(STDOUT_FILENO, [] { _exit(0); });
  return WatchStatistics(cluster, layer, last, format, std::cout);
}

int Main(const std::vector<std::string>& words) {
  if (words.empty()) {
    std::cerr << kUsage;
    return kExitUsage;
  }
  if (words.front() == "help") {
    std::cout << kUsage;
    const absl::Status printed = FlushOutput();
    return printed.ok() ? 0 : Fail(kProgram, printed);
  }
  const std::vector<Command> commands = Commands();
  const Command* command = FindCommand(commands, words.front());
  absl::Status status =
      command != nullptr
          ? CheckUsage(*command, words)
          : absl::InvalidArgumentError(absl::StrCat("unknown command \"", words.front(),
                                                    "\": expected ", NamesOf(commands)));
  if (!status.ok()) {
    PrintError(kProgram, absl::StrCat(status.message(), " (see pdctl --help)"));
    return kExitUsage;
  }
  status = CheckThreads(kThreads);
  if (status.ok()) status = Run(command->name, words);
  status.Update(FlushOutput());
  return status.ok() ? 0 : Fail(kProgram, status);
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  percentdelta::EndAtStopSignals();
  return percentdelta::RunProgram(argc, argv,
                                  {percentdelta::kProgram, percentdelta::kUsage,
                                   /*takes_words=*/true, percentdelta::Main});
}

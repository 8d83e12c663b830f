// pdctl: looks at a running cluster.

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <limits>
#include <map>
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
#include "common/base/limits.h"
#include "common/base/stop_signals.h"
#include "common/program/command_line.h"
#include "common/program/program.h"

ABSL_FLAG(std::string, server, "127.0.0.1:5000", "host:port of the coordinator, shard 0");
ABSL_FLAG(std::string, layer, "", "stats: this layer only, as in conv1");
ABSL_FLAG(int, last, 1, "stats: so many of the most recent steps");
ABSL_FLAG(bool, watch, false, "stats: go on until the training ends");
ABSL_FLAG(std::string, format, "table", "stats, status: table, json or csv");
ABSL_FLAG(std::vector<std::string>, connect_to, {}, "checksum, export: where to reach shards");
ABSL_FLAG(absl::Duration, deadline, absl::Seconds(10), "for an answer");

namespace percentdelta {
namespace {

constexpr char kProgram[] = "pdctl";
constexpr int kThreads = 12;  // of gRPC
constexpr absl::Duration kMaxDeadline = absl::Hours(1);
constexpr int64_t kMaxLayerBytes = 1000;
constexpr absl::Duration kCheckpointPatience = absl::Minutes(1);

constexpr char kUsage[] = R"(Looks at a running cluster.

  pdctl [--server=HOST:PORT] COMMAND [FLAGS]

Commands:
  status                     how far the training is, how fast, who takes part
  stats                      what the last step did to each tensor, and what plain SGD would have
  checksum                   SHA-256 of the weights: what two runs are compared by
  export FILE.safetensors    the weights, for PyTorch, NumPy and others
  checkpoint                 has a checkpoint taken, and waits until it is whole (a minute at most)
  job                        the job that is being trained, as text
  health                     SERVING, or exit code 1

Flags, before or after the command:
  --server=HOST:PORT         the coordinator, shard 0 (127.0.0.1:5000); for health any server
  --deadline=10s             how long to wait for an answer
  --connect_to=A=B[,C=D...]  checksum, export: reach the shard whose address is A at B, as in
                             --connect_to=server-1:5000=127.0.0.1:5001
  --format=table|json|csv    status, stats (status: table or json)
  --layer=NAME               stats: of one layer, as in --layer=conv1
  --last=N                   stats: the N most recent steps (1)
  --version                  prints version, revision and libraries
  --watch                    stats: then every step as it happens, until the training ends;
                             with --format=json one object a line

Examples:
  pdctl --server=10.0.0.5:5000 status
  pdctl stats --watch --layer=fc1
  pdctl stats --last=1000 --format=csv > statistics.csv

Exit codes: 0, also when the reader of the output has seen enough (pdctl ... | head); 1 for a call
that failed, or output that could not be written; 2 for a command line that makes no sense; 130, 143
and 129 for an end by SIGINT, SIGTERM and SIGHUP.
)";

// A command and what may stand beside it.
struct Command {
  absl::string_view name;
  absl::string_view operand;             // what it is; empty: none
  std::vector<absl::string_view> flags;  // apart from --server and --deadline
};

const Command* FindCommand(const std::vector<Command>& commands, absl::string_view name) {
  const auto found = std::find_if(commands.begin(), commands.end(),
                                  [&](const Command& command) { return command.name == name; });
  return found == commands.end() ? nullptr : &*found;
}

std::vector<Command> Commands() {
  return {{"status", "", {"format"}},
          {"stats", "", {"format", "layer", "last", "watch"}},
          {"checksum", "", {"connect_to"}},
          {"export", "FILE.safetensors", {"connect_to"}},
          {"checkpoint", "", {}},
          {"job", "", {}},
          {"health", "", {}}};
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

// What stands on the command line makes sense together.
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
  for (const char* flag : {"format", "layer", "last", "watch", "connect_to"}) {
    if (!IsGiven(flag) || absl::c_linear_search(command.flags, flag)) continue;
    return absl::InvalidArgumentError(absl::StrCat(command.name, " takes no --", flag));
  }
  absl::Status range =
      CheckRange("--last", absl::GetFlag(FLAGS_last), 1, std::numeric_limits<int32_t>::max());
  range.Update(CheckRange("--layer: bytes", static_cast<int64_t>(absl::GetFlag(FLAGS_layer).size()),
                          0, kMaxLayerBytes));
  if (!range.ok()) return range;
  absl::Status address = CheckHostAndPort("--server", absl::GetFlag(FLAGS_server));
  if (!address.ok()) return address;
  if (absl::GetFlag(FLAGS_deadline) <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--deadline: expected a positive time, as in 10s");
  }
  absl::Status deadline =
      CheckRange("--deadline", absl::GetFlag(FLAGS_deadline), absl::ZeroDuration(), kMaxDeadline);
  if (!deadline.ok()) return deadline;
  const auto connect_to = ConnectToFromFlag();
  if (!connect_to.ok()) return connect_to.status();
  const absl::StatusOr<Format> format = FormatFromFlag();
  if (!format.ok()) return format.status();
  if (command.name == "status" && *format == Format::kCsv) {
    return absl::InvalidArgumentError("status: expected --format=table or json, got csv");
  }
  return absl::OkStatus();
}

// What CheckUsage has checked.
absl::Status Run(absl::string_view command, const std::vector<std::string>& words) {
  const std::string server = absl::GetFlag(FLAGS_server);
  const absl::Duration deadline = absl::GetFlag(FLAGS_deadline);
  if (command == "health") return ShowHealth(server, deadline, std::cout);

  const Cluster cluster({server, deadline, *ConnectToFromFlag()});
  if (command == "checksum") return ShowChecksum(cluster, std::cout);
  if (command == "export") return ExportToFile(cluster, words[1], std::cout);
  if (command == "checkpoint") return TakeCheckpoint(cluster, kCheckpointPatience, std::cout);
  if (command == "job") return ShowJob(cluster, std::cout);

  const absl::StatusOr<Format> format = FormatFromFlag();
  if (!format.ok()) return format.status();
  if (command == "status") return ShowStatus(cluster, *format, std::cout);
  const std::string layer = absl::GetFlag(FLAGS_layer);
  const int last = absl::GetFlag(FLAGS_last);
  if (!absl::GetFlag(FLAGS_watch)) return ShowStatistics(cluster, layer, last, *format, std::cout);
  // Steps may be long in coming: a reader that has gone is noticed without one.
  const ReaderWatch reader(STDOUT_FILENO, [] { _exit(0); });
  return WatchStatistics(cluster, layer, last, *format, std::cout);
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
      command != nullptr ? CheckUsage(*command, words)
                         : absl::InvalidArgumentError(absl::StrCat(
                               "no command \"", words.front(), "\": expected ", NamesOf(commands)));
  if (!status.ok()) {
    PrintError(kProgram, absl::StrCat(status.message(), " (pdctl --help tells more)"));
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

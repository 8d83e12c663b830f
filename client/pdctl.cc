// pdctl: looks at a running cluster.

#include <grpc/support/log.h>
#include <signal.h>

#include <iostream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/commands.h"

ABSL_FLAG(std::string, server, "127.0.0.1:5000", "host:port of the coordinator, shard 0");
ABSL_FLAG(std::string, layer, "", "stats: this layer only, as in conv1");
ABSL_FLAG(int, last, 1, "stats: so many of the most recent steps");
ABSL_FLAG(bool, watch, false, "stats: go on until the training ends");
ABSL_FLAG(std::string, format, "table", "stats, status: table, json or csv");
ABSL_FLAG(absl::Duration, deadline, absl::Seconds(10), "for an answer");

namespace percentdelta {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

constexpr char kUsage[] = R"(Looks at a running cluster.

  pdctl [--server=HOST:PORT] COMMAND

Commands:
  status                how far the training is             [--format=table|json]
  stats                 what the last steps did to each layer
                        [--layer=NAME] [--last=N] [--watch] [--format=table|json|csv]
  checksum              SHA-256 of the weights: two runs compare by it
  export FILE           the weights as a safetensors file
  job                   the job that is being trained
  health                whether the server is serving (exit code 0) or not (1)

--server is the coordinator, shard 0: 127.0.0.1:5000 unless given. --deadline=10s for an answer.
Exit codes: 0; 1 for a call that failed; 2 for a command line that makes no sense.
)";

int UsageError(const std::string& message) {
  std::cerr << "pdctl: " << message << " (pdctl --help tells more)\n";
  return kExitUsage;
}

int Finish(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "pdctl: " << status.message();
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
    std::cerr << ". Is pd-server running there? Give another address with --server=HOST:PORT";
  }
  std::cerr << "\n";
  return kExitFailure;
}

bool ParseFormat(const std::string& text, Format& format) {
  if (text == "table") format = Format::kTable;
  if (text == "json") format = Format::kJson;
  if (text == "csv") format = Format::kCsv;
  return text == "table" || text == "json" || text == "csv";
}

int RunStatistics(const Cluster& cluster, Format format) {
  const std::string layer = absl::GetFlag(FLAGS_layer);
  const int last = absl::GetFlag(FLAGS_last);
  if (last < 1) return UsageError(absl::StrCat("--last: expected at least 1, got ", last));
  return Finish(absl::GetFlag(FLAGS_watch)
                    ? WatchStatistics(cluster, layer, last, format, std::cout)
                    : ShowStatistics(cluster, layer, last, format, std::cout));
}

int Run(const std::vector<std::string>& words) {
  if (words.empty()) {
    std::cerr << kUsage;
    return kExitUsage;
  }
  Format format = Format::kTable;
  if (!ParseFormat(absl::GetFlag(FLAGS_format), format)) {
    return UsageError(absl::StrCat("--format: expected table, json or csv, got ",
                                   absl::GetFlag(FLAGS_format)));
  }
  const std::string& command = words.front();
  const size_t operands = command == "export" ? 1 : 0;
  if (words.size() - 1 != operands) {
    return UsageError(absl::StrCat(command, ": expected ", operands, " arguments, got ",
                                   words.size() - 1));
  }
  const Cluster cluster({absl::GetFlag(FLAGS_server), absl::GetFlag(FLAGS_deadline)});
  if (command == "status") return Finish(ShowStatus(cluster, format, std::cout));
  if (command == "stats") return RunStatistics(cluster, format);
  if (command == "checksum") return Finish(ShowChecksum(cluster, std::cout));
  if (command == "export") return Finish(ExportToFile(cluster, words[1], std::cout));
  if (command == "job") return Finish(ShowJob(cluster, std::cout));
  if (command == "health") {
    return Finish(ShowHealth(absl::GetFlag(FLAGS_server), absl::GetFlag(FLAGS_deadline),
                             std::cout));
  }
  return UsageError(absl::StrCat("no command \"", command,
                                 "\"; there are status, stats, checksum, export, job, health"));
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  // A reader that has had enough (pdctl ... | head) is no error.
  signal(SIGPIPE, SIG_DFL);
  gpr_set_log_function([](gpr_log_func_args*) {});  // our own messages say it better
  absl::SetProgramUsageMessage(percentdelta::kUsage);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word != "--help" && word != "-h" && word != "help") continue;
    std::cout << percentdelta::kUsage;
    return 0;
  }
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  const int code = percentdelta::Run({rest.begin() + 1, rest.end()});
  std::cout.flush();
  return code;
}

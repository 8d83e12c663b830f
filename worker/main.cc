// SPDX-License-Identifier: Apache-2.0

// pd-worker: computes gradients for a cluster until the training is finished.

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/coordinator_stub.h"
#include "common/base/address.h"
#include "common/base/isa.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/status_macros.h"
#include "common/base/stop_signals.h"
#include "common/base/text.h"
#include "common/program/command_line.h"
#include "common/program/log_flags.h"
#include "common/program/metrics_flags.h"
#include "common/program/program.h"
#include "common/program/security_flags.h"
#include "common/transport/credentials.h"
#include "worker/data/data_folder.h"
#include "worker/data/data_sets.h"
#include "worker/models/model.h"
#include "worker/worker.h"

ABSL_FLAG(std::string, coordinator, "127.0.0.1:5000", "host:port of shard 0");
ABSL_FLAG(std::string, token_file, "",
          "file with this worker's token, where it has no certificate (pdctl token)");
ABSL_FLAG(bool, insecure, false, "connect to other machines without encryption and authentication");
ABSL_FLAG(std::string, data, "data/mnist", "directory with the IDX files, plain or gzipped");
ABSL_FLAG(std::string, name, "", "in logs; empty: host name and process id");
ABSL_FLAG(int, threads, 0, "threads that compute gradients; 0: one per core");
ABSL_FLAG(bool, shared_memory, true,
          "exchange weights and gradients through shared memory with servers on this machine that "
          "can see this process; with all others, and if false, through gRPC");
ABSL_FLAG(std::string, isa, "",
          "instruction set to compute with: generic, x86-64-v2, x86-64-v3 or x86-64-v4; empty: "
          "the best of this processor. All workers of a cluster must use the same arithmetic");
ABSL_FLAG(std::string, trace, "",
          "file for a timeline in the Chrome trace format (ui.perfetto.dev); empty: none");
ABSL_FLAG(
    std::string, fail_at, "",
    "for tests: POINT[:COUNT[:stop]] kills this process, or stops it, when it passes POINT (pull "
    "or push) for the COUNT-th time");
ABSL_FLAG(absl::Duration, give_up_after, absl::Minutes(10),
          "how long the cluster may be unreachable before the worker gives up");
ABSL_FLAG(
    absl::Duration, drain, absl::Seconds(5),
    "how long the current batch may take after SIGTERM, SIGINT or SIGHUP; then, or at a second "
    "signal, it is given back to the coordinator");

namespace percentdelta {
namespace {

constexpr char kProgram[] = "pd-worker";

// Threads of gRPC, the log, the signals, the metrics, the lease's renewal and the memory trimmer.
constexpr int kOtherThreads = 24;

// Deadline for asking the coordinator which job's data are missing.
constexpr absl::Duration kJobDeadline = absl::Seconds(2);

std::string DefaultName() {
  char host[256] = "worker";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, "-", getpid());
}

absl::Status CheckFlags() {
  RETURN_IF_ERROR(CheckHostAndPort("--coordinator", absl::GetFlag(FLAGS_coordinator)));
  absl::Status range;
  range.Update(CheckRange("--threads", absl::GetFlag(FLAGS_threads), 0, kMaxThreads));
  range.Update(CheckRange("--give_up_after", absl::GetFlag(FLAGS_give_up_after),
                          absl::ZeroDuration(), absl::InfiniteDuration()));
  range.Update(CheckRange("--drain", absl::GetFlag(FLAGS_drain), absl::ZeroDuration()));
  range.Update(CheckMetricsOptions(MetricsOptionsFromFlags()));
  range.Update(CheckName("--name", absl::GetFlag(FLAGS_name)));
  RETURN_IF_ERROR(range);
  const absl::StatusOr<FaultPoints> faults =
      FaultPoints::Parse(absl::GetFlag(FLAGS_fail_at), {"pull", "push"});
  if (!faults.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--fail_at: ", faults.status().message()));
  }
  const absl::StatusOr<Isa> isa = SelectIsa(absl::GetFlag(FLAGS_isa));
  return isa.ok() ? absl::OkStatus()
                  : absl::InvalidArgumentError(absl::StrCat("--isa: ", isa.status().message()));
}

int ThreadsNeeded() {
  const int threads = absl::GetFlag(FLAGS_threads);
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return (threads > 0 ? threads : cores) + kOtherThreads;
}

// Loads the data that the job needs from the folder of --data, and logs which files were used.
absl::StatusOr<DataSets> LoadData(const Job& job, const std::function<bool()>& cancelled,
                                  const Logger& log) {
  ReadOptions options;
  options.cancelled = cancelled;
  options.note = [&log](const std::string& line) { log->info("data note=\"{}\"", line); };
  options.advice = DataAdvice(job.model.architecture);
  return LoadDataSets(absl::GetFlag(FLAGS_data), job, options);
}

// Reports a folder that cannot hold data at once, even without a cluster. If the coordinator
// answers, the message names the command that gets its job's data.
absl::Status CheckData(const std::shared_ptr<const ClientCredentials>& credentials) {
  absl::Status status = CheckDataFolder(absl::GetFlag(FLAGS_data));
  if (status.ok()) return status;
  const auto coordinator =
      MakeCoordinatorStub(absl::GetFlag(FLAGS_coordinator), kJobDeadline, credentials);
  const absl::StatusOr<ClusterInfo> cluster = coordinator->GetJob();
  return absl::Status(
      status.code(), absl::StrCat(status.message(), ": ",
                                  DataAdvice(cluster.ok() ? cluster->job.model.architecture : "")));
}

// The flags' credentials, if they allow a connection to the coordinator.
absl::StatusOr<std::shared_ptr<const ClientCredentials>> CredentialsFromFlags() {
  const ClientSecurity security = {TlsFilesFromFlags(), absl::GetFlag(FLAGS_token_file),
                                   absl::GetFlag(FLAGS_insecure)};
  RETURN_IF_ERROR(CheckSecurityOf("--coordinator", absl::GetFlag(FLAGS_coordinator), security));
  return ClientCredentials::Make(security);
}

// Serves the worker's metrics, if the flags say where. Null: they do not.
absl::StatusOr<std::unique_ptr<MetricsExporter>> Export(const Worker& worker, const Logger& log) {
  const MetricsOptions options = MetricsOptionsFromFlags();
  if (options.address.empty()) return nullptr;
  ASSIGN_OR_RETURN(std::unique_ptr<MetricsExporter> exporter,
                   MetricsExporter::Start(options, {worker.metrics()}));
  log->info("metrics address={}", exporter->address());
  return exporter;
}

int Run() {
  RetainFreedMemory();
  StopSignals signals;
  if (absl::Status status = CheckFlags(); !status.ok()) return Fail(kProgram, status, kExitUsage);
  if (absl::Status status = CheckThreads(ThreadsNeeded()); !status.ok()) {
    return Fail(kProgram, status);
  }
  const MemoryTrimmer trimmer;
  absl::StatusOr<std::shared_ptr<const ClientCredentials>> credentials = CredentialsFromFlags();
  if (!credentials.ok()) return Fail(kProgram, credentials.status(), kExitUsage);
  if (absl::Status status = CheckData(*credentials); !status.ok()) return Fail(kProgram, status);

  Worker::Options options;
  options.name = absl::GetFlag(FLAGS_name).empty() ? DefaultName() : absl::GetFlag(FLAGS_name);
  options.coordinator = absl::GetFlag(FLAGS_coordinator);
  options.credentials = *std::move(credentials);
  options.shares_memory = absl::GetFlag(FLAGS_shared_memory);
  options.threads = absl::GetFlag(FLAGS_threads);
  options.isa = absl::GetFlag(FLAGS_isa);
  options.give_up_after = absl::GetFlag(FLAGS_give_up_after);
  options.log = MakeLogger(absl::StrCat("worker-", options.name), LogOptionsFromFlags());
  options.faults = *FaultPoints::Parse(absl::GetFlag(FLAGS_fail_at), {"pull", "push"});
  if (const std::string trace = absl::GetFlag(FLAGS_trace); !trace.empty()) {
    absl::StatusOr<std::shared_ptr<Trace>> opened = Trace::Open(trace);
    if (!opened.ok()) return Fail(kProgram, opened.status());
    options.trace = *std::move(opened);
  }
  const std::shared_ptr<Trace> trace = options.trace;
  const Logger log = options.log;
  options.load_data = [log](const Job& job, const std::function<bool()>& cancelled) {
    return LoadData(job, cancelled, log);
  };

  Worker worker(std::move(options));
  const absl::StatusOr<std::unique_ptr<MetricsExporter>> exporter = Export(worker, log);
  if (!exporter.ok()) {
    log->flush();
    return Fail(kProgram, exporter.status());
  }
  signals.Handle(
      [&](int signal) {
        log->info("stopping signal={}", signal);
        worker.Stop();
      },
      absl::GetFlag(FLAGS_drain), [&](int /*signal*/) { worker.Abandon(); });
  const absl::Status status = worker.Run();
  signals.End();
  if (trace != nullptr) {
    if (absl::Status closed = trace->Close(); !closed.ok())
      log->warn("trace not written error=\"{}\"", closed.message());
  }
  log->info("stopped");
  log->flush();
  return status.ok() ? 0 : Fail(kProgram, status);
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  return percentdelta::RunProgram(
      argc, argv,
      {percentdelta::kProgram,
       "Worker: computes gradients for a cluster until the training is finished.\n"
       "  pd-worker --coordinator=HOST:5000 --data=data/mnist",
       /*takes_words=*/false,
       [](const std::vector<std::string>& /*words*/) { return percentdelta::Run(); }});
}

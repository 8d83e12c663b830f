// SPDX-License-Identifier: Apache-2.0

// pd-local: trains in one process, with servers and workers over loopback ports.

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cluster.h"
#include "client/pdctl/report.h"
#include "client/pdctl/statistics_format.h"
#include "common/base/isa.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/status_macros.h"
#include "common/base/stop_signals.h"
#include "common/job/job_codec.h"
#include "common/job/job_validation.h"
#include "common/program/command_line.h"
#include "common/program/log_flags.h"
#include "common/program/program.h"
#include "common/transport/credentials.h"
#include "deploy/local/cluster.h"
#include "deploy/local/progress_display.h"
#include "server/live_page.h"
#include "worker/data/data_sets.h"
#include "worker/models/model.h"

ABSL_FLAG(int, shards, 1, "parameter servers");
ABSL_FLAG(int, workers, 1, "workers");
ABSL_FLAG(int, threads, 0,
          "of each worker; 0: the cores divided among the workers that compute at the same time");
ABSL_FLAG(int64_t, steps, 0, "number of steps; 0: the job's");
ABSL_FLAG(int, gradients_per_step, 0, "slots per step; 0: the job's");
ABSL_FLAG(std::string, data, "data/mnist", "directory with the IDX files, plain or gzipped");
ABSL_FLAG(std::string, job, "", "text-format job file; empty: the paper's MNIST job");
ABSL_FLAG(std::string, isa, "",
          "instruction set of the workers; empty: the best of this processor");
ABSL_FLAG(std::string, report, "",
          "directory for report.html, progress.csv and statistics.csv; empty: none");
ABSL_FLAG(std::string, tensorboard, "",
          "directory for what TensorBoard shows of this training; empty: none");
ABSL_FLAG(int64_t, tensorboard_histograms, 0,
          "with --tensorboard: steps from one histogram of weights and gradients to the next; 0: "
          "no histograms");
ABSL_FLAG(std::string, trace, "",
          "file for a timeline in the Chrome trace format (ui.perfetto.dev); empty: none");
ABSL_FLAG(std::string, restore, "",
          "start from this checkpoint, or from the newest in this directory; empty: from the "
          "newest in the job's checkpoint.directory, if there is one");
ABSL_FLAG(bool, no_restore, false, "start at step 0, and set existing checkpoints aside");
ABSL_FLAG(std::string, tls_dir, "",
          "directory of deploy/tls/make-certs: servers and workers use TLS with its certificates; "
          "empty: plaintext");
ABSL_FLAG(std::string, http, "",
          "loopback host:port of a page that shows the training while it runs, as in "
          "127.0.0.1:8080; port 0 takes a free port; empty: none");
ABSL_FLAG(bool, verbose, false, "print the log of servers and workers");

namespace percentdelta {
namespace {

constexpr absl::Duration kRefresh = absl::Milliseconds(200);
constexpr absl::Duration kPlainInterval = absl::Seconds(10);

constexpr char kProgram[] = "pd-local";

// A cluster stops within a second, unless its standard output blocks.
constexpr absl::Duration kStopTimeout = absl::Seconds(5);

// Threads of gRPC, the log, signals, heartbeats and the memory trimmer.
constexpr int kOtherThreads = 24;

absl::StatusOr<Job> JobFromFlags() {
  ASSIGN_OR_RETURN(Job job, LoadJob(absl::GetFlag(FLAGS_job)));
  const int64_t steps = absl::GetFlag(FLAGS_steps);
  const int slots = absl::GetFlag(FLAGS_gradients_per_step);
  if (steps != 0) job.max_steps = steps;
  if (slots != 0) job.gradients_per_step = slots;
  RETURN_IF_ERROR(ValidateJob(job));
  return job;
}

absl::Status CheckFlags() {
  absl::Status range;
  range.Update(CheckRange("--shards", absl::GetFlag(FLAGS_shards), 1, kMaxLocalShards));
  range.Update(CheckRange("--workers", absl::GetFlag(FLAGS_workers), 1, kMaxLocalWorkers));
  range.Update(CheckRange("--threads", absl::GetFlag(FLAGS_threads), 0, kMaxThreads));
  range.Update(CheckRange("--steps", absl::GetFlag(FLAGS_steps), 0, kMaxHistory));
  if (!range.ok()) return range;
  const absl::StatusOr<Isa> isa = SelectIsa(absl::GetFlag(FLAGS_isa));
  return isa.ok() ? absl::OkStatus()
                  : absl::InvalidArgumentError(absl::StrCat("--isa: ", isa.status().message()));
}

int ThreadsNeeded() {
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const int threads = std::max(1, absl::GetFlag(FLAGS_threads));
  return absl::GetFlag(FLAGS_shards) * (cores + 1) + absl::GetFlag(FLAGS_workers) * (threads + 2) +
         kOtherThreads + (absl::GetFlag(FLAGS_http).empty() ? 0 : LivePage::kThreads);
}

absl::StatusOr<LocalCluster::Options> OptionsFromFlags(Job job) {
  ReadOptions read_options;
  read_options.advice = DataAdvice(job.model.architecture);
  absl::StatusOr<DataSets> data = LoadDataSets(absl::GetFlag(FLAGS_data), job, read_options);
  if (!data.ok()) return data.status();
  LocalCluster::Options options;
  options.job = std::move(job);
  options.shards = absl::GetFlag(FLAGS_shards);
  options.workers = absl::GetFlag(FLAGS_workers);
  options.worker_threads = absl::GetFlag(FLAGS_threads);
  options.isa = absl::GetFlag(FLAGS_isa);
  options.training_set = data->training;
  options.test_set = data->test;
  options.history_steps = options.job.max_steps + 1;
  options.restore = absl::GetFlag(FLAGS_restore);
  options.tensorboard = absl::GetFlag(FLAGS_tensorboard);
  options.tensorboard_histograms = absl::GetFlag(FLAGS_tensorboard_histograms);
  options.tls_directory = absl::GetFlag(FLAGS_tls_dir);
  options.http = absl::GetFlag(FLAGS_http);
  options.no_restore = absl::GetFlag(FLAGS_no_restore);
  if (absl::GetFlag(FLAGS_verbose)) options.log = MakeLogger("local", LogOptionsFromFlags());
  if (const std::string path = absl::GetFlag(FLAGS_trace); !path.empty()) {
    ASSIGN_OR_RETURN(options.trace, Trace::Open(path));
  }
  return options;
}

// Returns the width of standard output; 0 if it is not a terminal, or CI's.
int TerminalWidth() {
  constexpr int kDefaultWidth = 80;
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || std::getenv("CI") != nullptr) return 0;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultWidth;
  return size.ws_col;
}

// Shows the progress until the workers have left, or `stopped` is not 0.
absl::Status Watch(LocalCluster& cluster, const Cluster& client, const std::atomic<int>& stopped) {
  ProgressDisplay display(std::cout, TerminalWidth(), kPlainInterval);
  bool left = false;
  while (!left && stopped == 0) {
    left = cluster.AwaitWorkersFor(kRefresh);
    const absl::StatusOr<Progress> progress = client.GetProgress();
    if (progress.ok()) display.Update(*progress, absl::Now());
  }
  display.Finish();
  if (stopped != 0) return absl::CancelledError("stopped before the end of the training");
  return cluster.AwaitWorkers();
}

// Prints the last step's statistics and the weights' checksum, and writes the report.
absl::Status Conclude(const Cluster& client, const std::string& command) {
  ASSIGN_OR_RETURN(const ClusterInfo info, client.GetJob());
  ASSIGN_OR_RETURN(Progress progress, client.GetProgress());
  // The last step's statistics may not have arrived yet.
  RETURN_IF_ERROR(client.WatchUpdateStatistics("", 0, [](const auto&, int64_t) { return true; }));
  ASSIGN_OR_RETURN(std::vector<StepStatistics> statistics, client.GetUpdateStatistics({}));
  ASSIGN_OR_RETURN(const Weights weights, client.PullWeights(info, info.job.max_steps));
  const std::string checksum = ChecksumOf(weights);
  if (!statistics.empty()) {
    std::cout << "\n" << FormatTable({statistics.back()});
  }
  std::cout << "\nweights sha256 " << checksum << "  step " << weights.step << std::endl;
  if (info.job.any_arithmetic) std::cout << kAnyArithmeticNote << std::endl;

  const std::string directory = absl::GetFlag(FLAGS_report);
  if (directory.empty()) return absl::OkStatus();
  ReportData report;
  report.job = info.job;
  report.progress = std::move(progress);
  report.statistics = std::move(statistics);
  report.weights_sha256 = checksum;
  report.command = command;
  RETURN_IF_ERROR(WriteReport(directory, report));
  std::cout << "report " << directory << "/report.html" << std::endl;
  return absl::OkStatus();
}

// Trains, and reports the result. A signal that ends the training early stores its number in
// `stopped`.
absl::Status Train(LocalCluster::Options options, const std::string& command,
                   const std::atomic<int>& stopped) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalCluster> cluster,
                   LocalCluster::Start(std::move(options)));
  Cluster::Options client_options;
  if (const std::string directory = absl::GetFlag(FLAGS_tls_dir); !directory.empty()) {
    ASSIGN_OR_RETURN(client_options.credentials,
                     ClientCredentials::Make({TlsFilesIn(directory, "operator")}));
  }
  client_options.coordinator = cluster->coordinator();
  client_options.deadline = absl::Minutes(1);
  const Cluster client(client_options);
  std::cout << "coordinator " << client_options.coordinator
            << " (pdctl --server=" << client_options.coordinator << " status)" << std::endl;
  if (const std::string url = cluster->page_url(); !url.empty()) {
    std::cout << "page " << url << std::endl;
  }
  RETURN_IF_ERROR(Watch(*cluster, client, stopped));
  return Conclude(client, command);
}

// Trains, then closes the trace and flushes the output.
absl::Status TrainAndClose(LocalCluster::Options options, const std::string& command,
                           StopSignals& signals) {
  std::atomic<int> stopped{0};
  signals.Handle([&stopped](int signal) { stopped = signal; }, kStopTimeout, EndBySignal);
  const std::shared_ptr<Trace> trace = options.trace;
  const Logger log = options.log;
  absl::Status status = Train(std::move(options), command, stopped);
  if (trace != nullptr) {
    const absl::Status closed = trace->Close();
    status.Update(closed);
    if (closed.ok()) std::cout << "trace " << absl::GetFlag(FLAGS_trace) << std::endl;
  }
  status.Update(FlushOutput());
  if (log != nullptr) log->flush();
  if (stopped != 0) {
    PrintError(kProgram, status.message());
    EndBySignal(stopped);
  }
  signals.End();
  return status;
}

int Run(const std::string& command) {
  RetainFreedMemory();
  StopSignals signals;
  if (absl::Status status = CheckFlags(); !status.ok()) return Fail(kProgram, status, kExitUsage);
  absl::StatusOr<Job> job = JobFromFlags();
  if (!job.ok()) return Fail(kProgram, job.status(), kExitUsage);
  for (const std::string& warning : JobWarnings(*job)) {
    PrintError(kProgram, absl::StrCat("warning: ", warning));
  }
  if (absl::Status status = CheckThreads(ThreadsNeeded()); !status.ok()) {
    return Fail(kProgram, status);
  }
  const MemoryTrimmer trimmer;
  if (const std::string report = absl::GetFlag(FLAGS_report); !report.empty()) {
    if (absl::Status status = PrepareReport(report); !status.ok()) return Fail(kProgram, status);
  }
  absl::StatusOr<LocalCluster::Options> options = OptionsFromFlags(*std::move(job));
  if (!options.ok()) return Fail(kProgram, options.status());
  const absl::Status status = TrainAndClose(*std::move(options), command, signals);
  return status.ok() ? 0 : Fail(kProgram, status);
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  const std::string command = absl::StrJoin(std::vector<std::string>(argv, argv + argc), " ");
  return percentdelta::RunProgram(
      argc, argv,
      {percentdelta::kProgram,
       "Trains in one process: servers and workers over loopback ports.\n"
       "  pd-local --shards=2 --workers=2 --steps=200 --data=data/mnist --report=report",
       /*takes_words=*/false, [&command](const std::vector<std::string>& /*words*/) {
         return percentdelta::Run(command);
       }});
}

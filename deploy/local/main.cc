// pd-local: a whole training in one process, servers and workers over loopback ports.

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cluster.h"
#include "client/statistics_format.h"
#include "common/command_line.h"
#include "common/job_codec.h"
#include "common/job_validation.h"
#include "common/log.h"
#include "common/memory.h"
#include "deploy/local/cluster.h"
#include "deploy/local/progress_display.h"
#include "deploy/local/report.h"
#include "worker/data/data_sets.h"
#include "worker/kernels/select.h"

ABSL_FLAG(int, shards, 1, "parameter servers");
ABSL_FLAG(int, workers, 1, "workers");
ABSL_FLAG(int, threads, 0,
          "of each worker; 0: the cores shared out among the workers that compute at a time");
ABSL_FLAG(int64_t, steps, 0, "train for so many steps; 0: as the job says");
ABSL_FLAG(int, gradients_per_step, 0, "slots of a step; 0: as the job says");
ABSL_FLAG(std::string, data, "data/mnist", "directory with the IDX files, plain or gzipped");
ABSL_FLAG(std::string, job, "", "text-format job file; empty: the paper's MNIST job");
ABSL_FLAG(std::string, isa, "", "of the workers' arithmetic; empty: the best of this processor");
ABSL_FLAG(std::string, report, "",
          "directory for report.html, progress.csv and statistics.csv; empty: none");
ABSL_FLAG(std::string, trace, "",
          "file for a timeline in the Chrome trace format (ui.perfetto.dev); empty: none");
ABSL_FLAG(bool, verbose, false, "log what servers and workers do");

namespace percentdelta {
namespace {

constexpr absl::Duration kRefresh = absl::Milliseconds(200);
constexpr absl::Duration kPlainInterval = absl::Seconds(10);

int Fail(const absl::Status& status, int code) {
  std::cerr << "pd-local: " << status.message() << "\n";
  return code;
}

absl::StatusOr<Job> JobFromFlags() {
  absl::StatusOr<Job> job = LoadJob(absl::GetFlag(FLAGS_job));
  if (!job.ok()) return job;
  const int64_t steps = absl::GetFlag(FLAGS_steps);
  const int slots = absl::GetFlag(FLAGS_gradients_per_step);
  if (steps != 0) job->max_steps = steps;
  if (slots != 0) job->gradients_per_step = slots;
  if (absl::Status status = ValidateJob(*job); !status.ok()) return status;
  return job;
}

absl::Status CheckFlags() {
  const struct {
    const char* name;
    int64_t value;
    int64_t least;
  } numbers[] = {{"shards", absl::GetFlag(FLAGS_shards), 1},
                 {"workers", absl::GetFlag(FLAGS_workers), 1},
                 {"threads", absl::GetFlag(FLAGS_threads), 0}};
  for (const auto& [name, value, least] : numbers) {
    if (value >= least) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, ": expected at least ", least, ", got ", value));
  }
  const absl::StatusOr<const Kernels*> kernels = SelectKernels(absl::GetFlag(FLAGS_isa));
  return kernels.ok()
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrCat("--isa: ", kernels.status().message()));
}

absl::StatusOr<LocalCluster::Options> OptionsFromFlags(Job job) {
  absl::StatusOr<DataSets> data = LoadDataSets(absl::GetFlag(FLAGS_data), job, {});
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
  if (absl::GetFlag(FLAGS_verbose)) options.log = MakeLogger("local");
  if (const std::string path = absl::GetFlag(FLAGS_trace); !path.empty()) {
    absl::StatusOr<std::shared_ptr<Trace>> trace = Trace::Open(path);
    if (!trace.ok()) return trace.status();
    options.trace = *std::move(trace);
  }
  return options;
}

// Of standard output; 0 if it is no terminal, or CI's.
int TerminalWidth() {
  constexpr int kUsualWidth = 80;
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || std::getenv("CI") != nullptr) return 0;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

// Shows the progress until the workers have left.
absl::Status Watch(LocalCluster& cluster, const Cluster& client) {
  ProgressDisplay display(std::cout, TerminalWidth(), kPlainInterval);
  bool left = false;
  while (!left) {
    left = cluster.AwaitWorkersFor(kRefresh);
    const absl::StatusOr<Progress> progress = client.GetProgress();
    if (progress.ok()) display.Update(*progress, absl::Now());
  }
  display.Finish();
  return cluster.AwaitWorkers();
}

absl::Status Conclude(const Cluster& client, const std::string& command) {
  const absl::StatusOr<ClusterJob> job = client.GetJob();
  if (!job.ok()) return job.status();
  const absl::StatusOr<Progress> progress = client.GetProgress();
  if (!progress.ok()) return progress.status();
  // The last step's statistics may still be on their way.
  absl::Status ended =
      client.WatchUpdateStatistics("", 0, [](const auto&, int64_t) { return true; });
  if (!ended.ok()) return ended;
  absl::StatusOr<std::vector<StepStatistics>> statistics = client.GetUpdateStatistics({});
  if (!statistics.ok()) return statistics.status();
  const absl::StatusOr<Weights> weights = client.PullWeights(*job, job->job.max_steps);
  if (!weights.ok()) return weights.status();
  const std::string checksum = ChecksumOf(*weights);
  if (!statistics->empty()) {
    std::cout << "\n" << FormatTable({statistics->back()});
  }
  std::cout << "\nweights sha256 " << checksum << "  step " << weights->step << std::endl;

  const std::string directory = absl::GetFlag(FLAGS_report);
  if (directory.empty()) return absl::OkStatus();
  ReportData report;
  report.job = job->job;
  report.progress = *progress;
  report.statistics = *std::move(statistics);
  report.weights_sha256 = checksum;
  report.command = command;
  if (absl::Status status = WriteReport(directory, report); !status.ok()) return status;
  std::cout << "report " << directory << "/report.html" << std::endl;
  return absl::OkStatus();
}

int Run(const std::string& command) {
  const MemoryTrimmer trimmer;
  absl::StatusOr<Job> job = JobFromFlags();
  if (!job.ok()) return Fail(job.status(), kExitUsage);
  for (const std::string& warning : JobWarnings(*job)) {
    std::cerr << "pd-local: warning: " << warning << "\n";
  }
  if (absl::Status status = CheckFlags(); !status.ok()) return Fail(status, kExitUsage);
  if (const std::string report = absl::GetFlag(FLAGS_report); !report.empty()) {
    if (absl::Status status = PrepareReport(report); !status.ok()) {
      return Fail(status, kExitFailure);
    }
  }
  absl::StatusOr<LocalCluster::Options> options = OptionsFromFlags(*std::move(job));
  if (!options.ok()) return Fail(options.status(), kExitFailure);
  const std::shared_ptr<Trace> trace = options->trace;
  absl::StatusOr<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(*std::move(options));
  if (!cluster.ok()) return Fail(cluster.status(), kExitFailure);
  Cluster::Options client_options;
  client_options.coordinator = (*cluster)->coordinator();
  client_options.deadline = absl::Minutes(1);
  const Cluster client(client_options);
  std::cout << "coordinator " << client_options.coordinator
            << " (pdctl --server=" << client_options.coordinator << " status)" << std::endl;
  if (absl::Status status = Watch(**cluster, client); !status.ok()) {
    return Fail(status, kExitFailure);
  }
  if (absl::Status status = Conclude(client, command); !status.ok()) {
    return Fail(status, kExitFailure);
  }
  if (trace != nullptr) {
    if (absl::Status status = trace->Close(); !status.ok()) return Fail(status, kExitFailure);
    std::cout << "trace " << absl::GetFlag(FLAGS_trace) << std::endl;
  }
  if (!std::cout.flush()) {
    return Fail(absl::UnavailableError("cannot write to standard output"), kExitFailure);
  }
  return 0;
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  percentdelta::KeepFreedMemory();
  const std::string command = absl::StrJoin(std::vector<std::string>(argv, argv + argc), " ");
  const std::vector<std::string> rest = percentdelta::ParseCommandLine(
      argc, argv,
      "Trains in one process: servers and workers over loopback ports.\n"
      "  pd-local --shards=2 --workers=2 --steps=200 --data=data/mnist --report=report");
  if (!rest.empty()) {
    std::cerr << "pd-local: unexpected argument " << rest[0] << " (see pd-local --help)\n";
    return percentdelta::kExitUsage;
  }
  return percentdelta::Run(command);
}

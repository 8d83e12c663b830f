// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/step_benchmark.h"

#include <benchmark/benchmark.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/cluster.h"
#include "common/cluster/statistics.h"
#include "common/job/job_codec.h"
#include "tests/benchmark/bare_gradient.h"
#include "tests/benchmark/paired.h"
#include "tests/benchmark/process_costs.h"
#include "tests/benchmark/server_processes.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

constexpr int kSteps = 10;       // from checkpoint to checkpoint
constexpr int kRoundSteps = 20;  // the first one becomes a checkpoint
constexpr int64_t kImages = 5000;
constexpr absl::Duration kWriteTime = absl::Milliseconds(500);  // enough to write a checkpoint

// Returns the paper's job, without end and evaluation, on synthetic images. The weights hardly
// change: a trained network would be cheaper to compute, as more of its units are zero.
// `checkpoints` is the directory for a checkpoint every kSteps steps; if empty, there are none.
Job BenchmarkJob(const std::string& checkpoints = "") {
  Job job = *LoadJob("");
  job.max_steps = 1 << 30;
  job.optimizer.learning_rate = 1e-9;
  job.evaluation.reset();
  job.data = {kImages, kImages};
  if (!checkpoints.empty()) job.checkpoint = CheckpointSpec{kSteps, checkpoints, 2};
  return job;
}

// Returns NaN, which the table shows as a dash, if there are no values.
double Median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A cluster of processes that trains during Run, and is stopped otherwise.
class PausableCluster {
 public:
  PausableCluster(const Job& job, int threads, bool shares_memory = true, bool tls = false)
      : servers_(job, 1, threads, tls) {
    const std::shared_ptr<const Dataset> images = SyntheticDataset(kImages, 1);
    WriteIdxFiles(*images, *images, servers_.directory());
    std::vector<std::string> command = {
        PD_WORKER, "--coordinator=" + servers_.coordinator(), "--data=" + servers_.directory(),
        absl::StrCat("--threads=", threads),
        absl::StrCat("--shared_memory=", shares_memory ? "true" : "false")};
    for (std::string& flag : servers_.TlsFlags("worker")) command.push_back(std::move(flag));
    worker_ = std::make_unique<Process>(command);
    watcher_ = std::thread([this] {
      Cluster::Options options;
      options.coordinator = servers_.coordinator();
      options.credentials = servers_.Credentials("viewer");
      Cluster(options)
          .WatchUpdateStatistics("", 0,
                                 [this](const StepStatistics& update, int64_t) {
                                   NoteEnd(update.step);
                                   return !stopping_;
                                 })
          .IgnoreError();
    });
    Run();
  }

  ~PausableCluster() {
    stopping_ = true;
    worker_->Signal(SIGCONT);  // the next step ends the watch
    watcher_.join();
  }

  // Trains some steps, and returns the milliseconds per step; negative after a timeout.
  double Run() {
    absl::MutexLock lock(&mutex_);
    ends_.clear();
    const auto done = [&]()
                          ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return ends_.size() > kRoundSteps; };
    worker_->Signal(SIGCONT);
    if (!mutex_.AwaitWithTimeout(absl::Condition(&done), absl::Minutes(1))) return -1;
    worker_->Signal(SIGSTOP);
    for (int i = 0; i < kRoundSteps; ++i) {
      times_[i % kSteps].push_back(absl::ToDoubleMilliseconds(ends_[i + 1].at - ends_[i].at));
    }
    const End& last = ends_[kRoundSteps];
    processor_times_.push_back((last.processor - ends_[0].processor) / kRoundSteps);
    return absl::ToDoubleMilliseconds(last.at - ends_[0].at) / kRoundSteps;
  }

  // Returns the median time, in milliseconds, of the step `since` steps after one that becomes a
  // checkpoint.
  double MedianTime(int since) const { return Median(times_[since]); }

  // Returns the median processor time of both processes, in milliseconds per step.
  double MedianProcessorTime() const { return Median(processor_times_); }

  pid_t worker() const { return worker_->pid(); }

 private:
  struct End {
    absl::Time at;
    double processor = 0;  // processor time of both processes so far, in milliseconds
  };

  // The first end of a round is that of the step before one that becomes a checkpoint.
  void NoteEnd(int64_t step) {
    absl::MutexLock lock(&mutex_);
    if (ends_.empty() && (step + 2) % kSteps != 0) return;
    const double processor =
        ProcessorMilliseconds(worker_->pid()) + ProcessorMilliseconds(servers_.server(0).pid());
    ends_.push_back({absl::Now(), processor});
  }

  ServerProcesses servers_;
  std::unique_ptr<Process> worker_;
  std::thread watcher_;
  std::atomic<bool> stopping_ = false;
  absl::Mutex mutex_;
  std::vector<End> ends_ ABSL_GUARDED_BY(mutex_);  // of a round's steps
  std::array<std::vector<double>, kSteps> times_;  // of all rounds, by step modulo kSteps
  std::vector<double> processor_times_;            // per step, of all rounds
};

// Adds counters for the two, and for their ratio.
void AddCounters(benchmark::State& state, const std::string& name, double value, double limit) {
  state.counters[name] = value;
  state.counters[name + "_limit"] = limit;
  state.counters[name + "_ratio"] = value / limit;
}

// The counters processor, processor_limit and processor_ratio are the median processor time of a
// step, in milliseconds, with and without servers, and their ratio; peak, peak_limit and peak_ratio
// are the worker's peak resident set, in MB, its target, and their ratio.
void BM_Step(benchmark::State& state, bool shares_memory) {
  constexpr double kMaxMegabytes = 350;
  const int threads = static_cast<int>(state.range(0));
  PausableCluster cluster(BenchmarkJob(), threads, shares_memory);
  BareGradient gradient(BenchmarkJob(), threads, "");
  std::vector<double> processor_times;
  MeasureAgainst(
      state, [&] { return cluster.Run(); }, [] {},
      [&] {
        const double processor = ProcessorMilliseconds(0);
        const absl::Time begin = absl::Now();
        for (int i = 0; i < kRoundSteps; ++i) gradient.Run();
        processor_times.push_back((ProcessorMilliseconds(0) - processor) / kRoundSteps);
        return absl::ToDoubleMilliseconds(absl::Now() - begin) / kRoundSteps;
      });
  AddCounters(state, "processor", cluster.MedianProcessorTime(), Median(processor_times));
  AddCounters(state, "peak", PeakMegabytes(cluster.worker()), kMaxMegabytes);
}

// Steps with mTLS, against as many without. The counters processor, processor_limit and
// processor_ratio compare their processor time.
void BM_StepTls(benchmark::State& state, bool shares_memory) {
  const int threads = static_cast<int>(state.range(0));
  PausableCluster with(BenchmarkJob(), threads, shares_memory, true);
  PausableCluster without(BenchmarkJob(), threads, shares_memory);
  MeasureAgainst(
      state, [&] { return with.Run(); }, [] {}, [&] { return without.Run(); });
  AddCounters(state, "processor", with.MedianProcessorTime(), without.MedianProcessorTime());
}

// Steps with checkpoints, which are written concurrently, against as many without. The counters
// worst, worst_limit and worst_ratio are those of the step that is delayed most: the median with
// and without checkpoints, in milliseconds, and their ratio.
void BM_Checkpoint(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  const TemporaryDirectory directory;
  PausableCluster with(BenchmarkJob(directory.path() + "/checkpoints"), threads);
  PausableCluster without(BenchmarkJob(), threads);
  MeasureAgainst(
      state, [&] { return with.Run(); }, [] { absl::SleepFor(kWriteTime); },
      [&] { return without.Run(); });
  int worst = 0;
  const auto ratio = [&](int since) { return with.MedianTime(since) / without.MedianTime(since); };
  for (int since = 1; since < kSteps; ++since) {
    if (ratio(since) > ratio(worst)) worst = since;
  }
  AddCounters(state, "worst", with.MedianTime(worst), without.MedianTime(worst));
}

}  // namespace

void RegisterStepBenchmarks(int rounds) {
  for (benchmark::internal::Benchmark* registered :
       {benchmark::RegisterBenchmark("BM_Checkpoint", BM_Checkpoint),
        benchmark::RegisterBenchmark("BM_Step/connection", BM_Step, false),
        benchmark::RegisterBenchmark("BM_Step/shared_memory", BM_Step, true),
        benchmark::RegisterBenchmark("BM_StepTls/connection", BM_StepTls, false),
        benchmark::RegisterBenchmark("BM_StepTls/shared_memory", BM_StepTls, true)}) {
    registered->Arg(1)->Arg(2)->ArgName("threads")->UseManualTime()->Iterations(rounds)->Unit(
        benchmark::kMillisecond);
  }
}

}  // namespace percentdelta

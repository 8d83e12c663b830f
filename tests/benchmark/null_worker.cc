// SPDX-License-Identifier: Apache-2.0

// null_worker --coordinator=HOST:PORT --work=train|lease|pull|push [--count=N]
//
// A worker whose gradients cost nothing, so that only the costs of the parameter servers and of the
// transport remain. Prints one line of JSON: the wall time and the processor time of this process,
// in seconds, and how often the work was done. tests/benchmark/scaling runs it.

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/coordinator_stub.h"
#include "client/pull.h"
#include "client/push.h"
#include "common/base/memory.h"
#include "common/base/status_macros.h"
#include "common/program/command_line.h"
#include "tests/local/small_cluster.h"
#include "worker/weight_source.h"

ABSL_FLAG(std::string, coordinator, "127.0.0.1:5000", "host:port of shard 0");
ABSL_FLAG(std::string, work, "train",
          "train: leases, pulls and pushes until the training is finished; lease: returns a lease "
          "and gets it again; pull: the weights of step 0; push: to --count slots of step 0, "
          "from --slot on");
ABSL_FLAG(int64_t, count, 1, "how often; ignored by train");
ABSL_FLAG(int32_t, slot, 0, "first slot of --work=push");

namespace percentdelta {
namespace {

constexpr absl::Duration kDeadline = absl::Minutes(1);
constexpr absl::Duration kMaxWait = absl::Seconds(5);

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class NullWorker {
 public:
  explicit NullWorker(const std::string& coordinator)
      : coordinator_(MakeCoordinatorStub(coordinator, kDeadline)),
        cluster_(AwaitGeneration(coordinator)),
        channels_(cluster_.job.model, cluster_.generation, cluster_.shard_addresses),
        gradient_(std::make_shared<const std::vector<std::vector<float>>>(
            RandomGradient(cluster_.job.model, 1))),
        weights_(channels_, kDeadline, {}) {}

  // Returns the number of times that the work was done.
  absl::StatusOr<int64_t> Do(const std::string& work, int64_t count) {
    if (work == "train") return TrainAll();
    if (work == "lease") return Repeat(count, &NullWorker::ReturnLease);
    if (work == "pull") return Repeat(count, &NullWorker::PullFirst);
    if (work == "push") return Repeat(count, &NullWorker::PushNext);
    return absl::InvalidArgumentError(
        absl::StrCat("--work: expected train, lease, pull or push, got ", work));
  }

  // Waits until every shard has entered the generation, and acquires the lease for ReturnLease.
  absl::Status Prepare(const std::string& work) {
    if (work == "train") return absl::OkStatus();  // leases are granted only then
    absl::Status status;
    do {
      status = PullFirst();
    } while (absl::IsUnavailable(status));
    if (work != "lease" || !status.ok()) return status;
    ASSIGN_OR_RETURN(lease_, Acquire());
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<int64_t> Repeat(int64_t count, absl::Status (NullWorker::*once)()) {
    for (int64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR((this->*once)());
    }
    return count;
  }

  absl::StatusOr<Lease> Acquire() { return coordinator_->AcquireLease({"null", "none"}, kMaxWait); }

  absl::StatusOr<Lease> Complete(const Lease& lease, const std::string& failure) {
    LeaseResult result;
    result.generation = lease.generation;
    result.lease_id = lease.id;
    result.worker = "null";
    result.failure = failure;
    result.caused_by_environment = true;
    result.examples = cluster_.job.batch_size;
    return coordinator_->CompleteLease(result);
  }

  absl::Status ReturnLease() {
    ASSIGN_OR_RETURN(lease_, Complete(lease_, "not wanted"));
    return absl::OkStatus();
  }

  absl::Status PullFirst() { return WeightPull(channels_, 0, kDeadline, values_).AwaitAll(); }

  // Pulls and pushes as Worker::Train does.
  absl::Status Train(const Lease& lease) {
    weights_.SelectStep(lease.step);
    const int tensors = static_cast<int>(gradient_->size());
    for (int tensor = 0; tensor < tensors; ++tensor) {
      RETURN_IF_ERROR(weights_.Await(tensor));
    }
    return Push(lease.step, lease.slot, lease.step + 1 < cluster_.job.max_steps);
  }

  absl::Status Push(int64_t step, int32_t slot, bool prefetch) {
    GradientPush push(channels_, {step, slot}, kDeadline, gradient_);
    for (int tensor = static_cast<int>(gradient_->size()) - 1; tensor >= 0; --tensor) {
      push.Ready(tensor);
      if (prefetch) weights_.Prefetch(step + 1);
    }
    return push.Finish();
  }
  absl::Status PushNext() { return Push(0, slot_++, false); }

  absl::StatusOr<int64_t> TrainAll() {
    int64_t done = 0;
    absl::StatusOr<Lease> lease = Acquire();
    while (lease.ok() && lease->kind != Lease::Kind::kFinished) {
      if (lease->kind == Lease::Kind::kTrain) {
        RETURN_IF_ERROR(Train(*lease));
        ++done;
        lease = Complete(*lease, "");
      } else {
        lease = Acquire();
      }
    }
    if (!lease.ok()) return lease.status();
    return done;
  }

  const std::unique_ptr<CoordinatorStub> coordinator_;
  const ClusterInfo cluster_;
  const ShardChannels channels_;
  const std::shared_ptr<const std::vector<std::vector<float>>> gradient_;
  WeightSource weights_;
  std::vector<std::vector<float>> values_;  // of PullFirst
  Lease lease_;
  int32_t slot_ = absl::GetFlag(FLAGS_slot);
};

int Fail(const absl::Status& status) {
  std::cerr << "null_worker: " << status.message() << "\n";
  return absl::IsInvalidArgument(status) ? kExitUsage : kExitFailure;
}

int Run() {
  const std::string work = absl::GetFlag(FLAGS_work);
  NullWorker worker(absl::GetFlag(FLAGS_coordinator));
  if (absl::Status status = worker.Prepare(work); !status.ok()) return Fail(status);
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = CpuSeconds();
  const absl::StatusOr<int64_t> count = worker.Do(work, absl::GetFlag(FLAGS_count));
  if (!count.ok()) return Fail(count.status());
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  std::cout << absl::StrFormat("{\"count\": %d, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n",
                               *count, wall.count(), CpuSeconds() - cpu);
  return 0;
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  percentdelta::RetainFreedMemory();
  const std::vector<std::string> rest = percentdelta::ParseCommandLine(
      argc, argv,
      "A worker whose gradients cost nothing, to measure servers and transport.\n"
      "  null_worker --coordinator=HOST:5000 --work=train (flags: tests/benchmark/null_worker.cc)");
  if (!rest.empty()) {
    std::cerr << "null_worker: unexpected argument " << rest[0] << "\n";
    return percentdelta::kExitUsage;
  }
  return percentdelta::Run();
}

// null_worker --coordinator=HOST:PORT --work=train|lease|pull|push [--count=N]
//
// A worker whose gradients cost nothing: what is left is what the parameter servers and the way to
// them cost. Prints one line of JSON: the wall time and this process's processor time in seconds,
// and how often the work was done. tests/benchmark/scaling drives it.

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/coordinator_stub.h"
#include "client/pull.h"
#include "client/push.h"
#include "common/base/memory.h"
#include "common/program/command_line.h"
#include "tests/local/small_cluster.h"
#include "worker/weight_source.h"

ABSL_FLAG(std::string, coordinator, "127.0.0.1:5000", "host:port of shard 0");
ABSL_FLAG(std::string, work, "train",
          "train: leases, pulls and pushes until the training is finished; lease: gives a lease "
          "back and is given it again; pull: the weights of step 0; push: to so many slots of "
          "step 0, from --slot on");
ABSL_FLAG(int64_t, count, 1, "how often; train: as long as there is work");
ABSL_FLAG(int32_t, slot, 0, "first slot of --work=push");

namespace percentdelta {
namespace {

constexpr absl::Duration kDeadline = absl::Minutes(1);
constexpr absl::Duration kLongestWait = absl::Seconds(5);

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

  // The number of times that it was done.
  absl::StatusOr<int64_t> Do(const std::string& work, int64_t count) {
    if (work == "train") return TrainAll();
    if (work == "lease") return Repeat(count, &NullWorker::GiveBack);
    if (work == "pull") return Repeat(count, &NullWorker::PullFirst);
    if (work == "push") return Repeat(count, &NullWorker::PushNext);
    return absl::InvalidArgumentError(
        absl::StrCat("--work: expected train, lease, pull or push, got ", work));
  }

  // Waits until every shard has entered the generation, and takes the lease that GiveBack needs.
  absl::Status Prepare(const std::string& work) {
    if (work == "train") return absl::OkStatus();  // a lease is given out only then
    absl::Status status;
    do {
      status = PullFirst();
    } while (absl::IsUnavailable(status));
    if (work != "lease" || !status.ok()) return status;
    absl::StatusOr<Lease> lease = Acquire();
    if (!lease.ok()) return lease.status();
    lease_ = *std::move(lease);
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<int64_t> Repeat(int64_t count, absl::Status (NullWorker::*once)()) {
    for (int64_t i = 0; i < count; ++i) {
      if (absl::Status status = (this->*once)(); !status.ok()) return status;
    }
    return count;
  }

  absl::StatusOr<Lease> Acquire() {
    return coordinator_->AcquireLease({"null", "none"}, kLongestWait);
  }

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

  absl::Status GiveBack() {
    absl::StatusOr<Lease> next = Complete(lease_, "not wanted");
    if (!next.ok()) return next.status();
    lease_ = *std::move(next);
    return absl::OkStatus();
  }

  absl::Status PullFirst() { return WeightPull(channels_, 0, kDeadline, values_).AwaitAll(); }

  // Pulls and pushes as Worker::Train does.
  absl::Status Train(const Lease& lease) {
    weights_.Turn(lease.step);
    const int tensors = static_cast<int>(gradient_->size());
    for (int tensor = 0; tensor < tensors; ++tensor) {
      if (absl::Status status = weights_.Await(tensor); !status.ok()) return status;
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
        if (absl::Status status = Train(*lease); !status.ok()) return status;
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
  std::vector<std::vector<float>> values_;  // that PullFirst pulls into
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
      "A worker whose gradients cost nothing, to measure servers and the way to them.\n"
      "  null_worker --coordinator=HOST:5000 --work=train (flags: tests/benchmark/null_worker.cc)");
  if (!rest.empty()) {
    std::cerr << "null_worker: unexpected argument " << rest[0] << "\n";
    return percentdelta::kExitUsage;
  }
  return percentdelta::Run();
}

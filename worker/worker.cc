// SPDX-License-Identifier: Apache-2.0

#include "worker/worker.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/client_security.h"
#include "common/base/status_macros.h"
#include "common/transport/credentials.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kCallDeadline = absl::Seconds(5);
constexpr absl::Duration kLeavingDeadline = absl::Seconds(1);
constexpr absl::Duration kMaxLeaseWait = absl::Seconds(1);  // Stop does not end this wait
constexpr absl::Duration kShardPollInterval = absl::Milliseconds(100);

}  // namespace

Worker::Worker(Options options)
    : options_([&] {
        if (options.log == nullptr) options.log = MakeSilentLogger();
        return std::move(options);
      }()),
      tracer_(options_.trace, absl::StrCat("worker ", options_.name)),
      metrics_(std::make_shared<WorkerMetrics>(options_.name)),
      pool_(options_.threads > 0 ? options_.threads
                                 : std::max(1U, std::thread::hardware_concurrency())),
      renewer_(MakeCoordinatorStub(options_.coordinator, kCallDeadline, options_.credentials),
               options_.name),
      failures_(options_.give_up_after, clock_),
      work_(options_, tracer_, pool_, renewer_) {
  RetryPolicy policy;
  policy.give_up_after = options_.give_up_after;
  policy.stopped = [this] { return stopped_.load(); };
  for (auto* stub : {&coordinator_, &results_}) {
    *stub = MakeRetryingStub(
        MakeCoordinatorStub(options_.coordinator, kCallDeadline, options_.credentials),
        options_.coordinator, policy, options_.log);
  }
}

Worker::~Worker() = default;

void Worker::Stop() {
  stopped_ = true;
  // Do not cancel a call for a lease: it may have been answered, and the lease must be given back.
  // A worker that has not joined cannot hold one.
  if (!joined_) coordinator_->Cancel();
  coordinator_->StopRetrying();
  results_->StopRetrying();
  pause_.Cut();
}

void Worker::Abandon() {
  Stop();
  pool_.Cancel();
  coordinator_->Cancel();
  results_->Cancel();
  work_.Cancel();
}

absl::Status Worker::Join() {
  bool logged_waiting = false;
  const absl::Duration begin = clock_.Now();
  while (!stopped_) {
    ASSIGN_OR_RETURN(ClusterInfo cluster, coordinator_->GetJob());
    if (!work_.prepared()) {
      RETURN_IF_ERROR(work_.Prepare(cluster.job, [this] { return stopped_.load(); }));
      cluster_ = std::move(cluster);
      continue;  // loading took time: the cluster may have changed
    }
    if (cluster.job_hash != cluster_.job_hash) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the cluster now runs another job: expected ", cluster_.job_hash.substr(0, 12), ", got ",
          cluster.job_hash.substr(0, 12), "; restart the worker"));
    }
    if (cluster.generation != 0) {
      for (const std::string& address : cluster.shard_addresses) {
        RETURN_IF_ERROR(
            CheckSecurityOf("a shard's address", address, SecurityOf(options_.credentials)));
      }
      joined_ = true;
      work_.Connect(cluster);
      cluster_ = std::move(cluster);
      metrics_->SetGeneration(cluster_.generation);
      options_.log->info("joined generation={} shards={} job={} arithmetic={} threads={}",
                         cluster_.generation, cluster_.shard_addresses.size(), cluster_.job.name,
                         work_.arithmetic(), pool_.threads());
      return absl::OkStatus();
    }
    if (!std::exchange(logged_waiting, true)) options_.log->info("waiting for shards");
    if (clock_.Now() - begin > options_.give_up_after) {
      return absl::UnavailableError(absl::StrCat("the coordinator at ", options_.coordinator,
                                                 " answers, but shards have been missing for ",
                                                 absl::FormatDuration(options_.give_up_after)));
    }
    pause_.Take(kShardPollInterval);
  }
  return absl::CancelledError("stopped");
}

absl::Status Worker::Run() {
  absl::Status status = Join();
  absl::StatusOr<Lease> lease = Lease{};
  while (status.ok() && !stopped_) {
    if (lease->kind == Lease::Kind::kWait) lease = NextLease();
    if (!lease.ok()) {
      status = lease.status();
      break;
    }
    if (lease->kind == Lease::Kind::kFinished) {
      options_.log->info("training finished");
      return absl::OkStatus();
    }
    if (lease->kind == Lease::Kind::kDrained) {
      options_.log->info("the cluster is drained: {}", lease->message);
      return absl::OkStatus();
    }
    if (lease->kind == Lease::Kind::kFailed) {
      return absl::AbortedError(absl::StrCat("the training failed: ", lease->message));
    }
    if (lease->kind == Lease::Kind::kWait) continue;
    if (stopped_) break;
    options_.log->debug("lease taken step={} slot={}", lease->step, lease->slot);
    if (lease->generation != cluster_.generation) status = Join();
    if (!status.ok()) break;
    LeaseResult result;
    renewer_.Begin(*lease);
    const absl::Status performed = work_.Perform(*lease, result);
    renewer_.End();
    metrics_->AddLease(*lease, performed, result);
    lease = Report(*lease, performed, work_.at_fault(), std::move(result));
    status = lease.ok() ? failures_.CheckReachable(performed, work_.at_fault()) : lease.status();
  }
  if (!stopped_) return status;
  // Give back the lease that the last answer brought, so that no step waits for its deadline.
  if (lease.ok() && (lease->kind == Lease::Kind::kTrain || lease->kind == Lease::Kind::kEvaluate)) {
    const absl::Status leaving = absl::CancelledError("the worker is leaving");
    Report(*lease, leaving, /*at_fault=*/false, LeaseResult()).IgnoreError();
  }
  return absl::OkStatus();
}

absl::StatusOr<Lease> Worker::NextLease() {
  const TraceSpan span(tracer_, "acquire lease", {});
  return coordinator_->AcquireLease({options_.name, work_.arithmetic(), work_.data_fingerprint()},
                                    kMaxLeaseWait);
}

absl::StatusOr<Lease> Worker::Complete(LeaseResult result) {
  result.leaving = stopped_;
  if (!pool_.cancelled()) return results_->CompleteLease(result);
  // results_ is cancelled. Try once more, so that no step waits for the lease's deadline.
  return MakeCoordinatorStub(options_.coordinator, kLeavingDeadline, options_.credentials)
      ->CompleteLease(result);
}

absl::StatusOr<Lease> Worker::Report(const Lease& lease, const absl::Status& status, bool at_fault,
                                     LeaseResult result) {
  result.generation = lease.generation;
  result.lease_id = lease.id;
  result.worker = options_.name;
  if (status.ok()) {
    if (failures_.length() > 0) {
      options_.log->info("working again dropped_leases={}", failures_.length());
    }
    failures_.End();
  } else {
    result.failure = std::string(status.message());
    result.caused_by_environment = !at_fault;
    // Log an outage once, whatever number of leases it costs.
    if (!stopped_ && (failures_.length() == 0 || at_fault)) {
      options_.log->warn("lease dropped step={} slot={} at_fault={} reason=\"{}\"", lease.step,
                         lease.slot, at_fault, status.message());
    }
    if (!stopped_) pause_.Take(failures_.Extend());
    if (absl::IsUnavailable(status)) work_.ResetBackoff();
  }
  const TraceSpan span(tracer_, "complete lease", {.step = lease.step, .slot = lease.slot});
  absl::StatusOr<Lease> next = Complete(std::move(result));
  // The generation has changed: the lease is void, and so is its result.
  if (!next.ok() && absl::IsFailedPrecondition(next.status())) return Lease{};
  return next;
}

}  // namespace percentdelta

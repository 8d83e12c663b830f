// SPDX-License-Identifier: Apache-2.0

// A worker: leases a batch, pulls the weights of its step, computes the gradient, pushes it and
// keeps no state. The binary pd-worker, pd-local and the tests all run it through this class.

#ifndef PERCENTDELTA_WORKER_WORKER_H_
#define PERCENTDELTA_WORKER_WORKER_H_

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/coordinator_stub.h"
#include "common/base/clock.h"
#include "common/base/pause.h"
#include "common/base/thread_pool.h"
#include "common/base/trace.h"
#include "common/cluster/cluster_info.h"
#include "common/cluster/lease.h"
#include "worker/failure_streak.h"
#include "worker/lease_renewer.h"
#include "worker/lease_work.h"
#include "worker/worker_metrics.h"
#include "worker/worker_options.h"

namespace percentdelta {

// Run is called once, on one thread; Stop and Abandon may be called from any thread.
class Worker {
 public:
  using Options = WorkerOptions;

  explicit Worker(Options options);
  ~Worker();

  // Works until the training is finished (kOk), its cluster is drained (kOk) or Stop is called
  // (kOk).
  //   kAborted             the training failed; the message says why
  //   kInvalidArgument, kNotFound, kFailedPrecondition  job, data, model and arithmetic do not fit
  //                        together, or the coordinator has dismissed the worker, because it failed
  //                        at work that others could do
  //   kUnavailable         the cluster, or a part of it, was unreachable for too long
  absl::Status Run();

  // What this worker has done, for metrics; may outlive it.
  const std::shared_ptr<WorkerMetrics>& metrics() const { return metrics_; }

  // Makes Run return after the current lease: within a second if there is none, or if data are
  // being loaded.
  void Stop();

  // Makes Run return soon, also in the middle of a long computation or call. The current lease is
  // given back, and another worker gets it.
  void Abandon();

 private:
  // Waits until the cluster has a generation, and connects to its shards.
  absl::Status Join();

  absl::StatusOr<Lease> NextLease();

  // Sends the result of a lease, which failed if `status` is an error. Returns the next lease.
  absl::StatusOr<Lease> Report(const Lease& lease, const absl::Status& status, bool at_fault,
                               LeaseResult result);
  absl::StatusOr<Lease> Complete(LeaseResult result);

  const Options options_;
  const Tracer tracer_;
  const std::shared_ptr<WorkerMetrics> metrics_;
  const SteadyClock clock_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> joined_{false};               // leases may be asked for
  ThreadPool pool_;                               // cancelled by Abandon
  Pause pause_;                                   // cut by Stop
  std::unique_ptr<CoordinatorStub> coordinator_;  // for the job and leases; cancelled by Abandon
  std::unique_ptr<CoordinatorStub> results_;      // for leases' results; cancelled by Abandon
  LeaseRenewer renewer_;
  FailureStreak failures_;
  ClusterInfo cluster_;  // as of the last Join
  LeaseWork work_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_WORKER_H_

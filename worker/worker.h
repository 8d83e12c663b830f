// A worker: leases a batch, pulls the weights of its step, computes the gradient, pushes it,
// forgets everything. The binary pd-worker, pd-local and the tests all run it through this class.

#ifndef PERCENTDELTA_WORKER_WORKER_H_
#define PERCENTDELTA_WORKER_WORKER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/coordinator_stub.h"
#include "client/push.h"
#include "client/shard_channels.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/pause.h"
#include "common/base/thread_pool.h"
#include "common/base/trace.h"
#include "worker/data/batches.h"
#include "worker/data/dataset.h"
#include "worker/lease_renewer.h"
#include "worker/models/model.h"
#include "worker/weight_source.h"

namespace percentdelta {

// Run on one thread; Stop may be called from any.
class Worker {
 public:
  struct Options {
    std::string name;         // in logs and in the coordinator's count of workers
    std::string coordinator;  // "host:port" of shard 0

    // Gives the data that the job needs (data_sets.h); called once, when the job is known, before
    // the first lease. `cancelled` returns true as soon as the worker is to stop. Not empty.
    std::function<absl::StatusOr<DataSets>(const Job& job, const std::function<bool()>& cancelled)>
        load_data;

    // Exchanges weights and gradients with servers on this machine by shared memory.
    bool shares_memory = true;

    int threads = 0;  // that compute gradients; 0: one a core
    std::string isa;  // see ModelOptions

    // How long the cluster may be out of reach before the worker gives up: its coordinator, or a
    // shard that its leases need. Without a lease it waits for as long as the coordinator answers.
    absl::Duration give_up_after = absl::Minutes(10);

    Logger log;                    // null: silent
    std::shared_ptr<Trace> trace;  // null: none
    FaultPoints faults;            // of tests: "pull" and "push"
  };

  explicit Worker(Options options);
  ~Worker();

  // Works until the training is finished (kOk) or Stop is called (kOk).
  //   kAborted             the training failed; the message says why
  //   kInvalidArgument, kNotFound, kFailedPrecondition  job, data, model or arithmetic do not fit
  //                        together, or the coordinator has sent the worker away, because it failed
  //                        at work that others could do
  //   kUnavailable         the cluster, or a part of it, was out of reach for too long
  absl::Status Run();

  // Makes Run return after the lease in hand, within a second if there is none, or while data are
  // loaded.
  void Stop();

  // Makes Run return soon, also in the middle of a long computation or call: the lease in hand is
  // given back, and another worker gets it.
  void Abandon();

 private:
  // The cluster's present generation, as far as the worker needs it.
  absl::Status Enter();

  // Makes model_, batches_ and data_, of the job in `cluster`. An error: the worker cannot do the
  // job, and must not take a lease.
  absl::Status Prepare(const ClusterInfo& cluster);

  // Makes `batch_` the examples of a slot, if it is not.
  void Gather(const BatchId& batch);

  // Says how values get to the shards and back.
  void TellWays() const;

  // Memory for a gradient that no push holds any more.
  std::shared_ptr<TensorValues> TakeGradient();

  absl::Status Train(const Lease& lease, LeaseResult& result);
  absl::Status Evaluate(const Lease& lease, LeaseResult& result);
  absl::StatusOr<Lease> NextLease();
  absl::StatusOr<Lease> Complete(LeaseResult result);
  absl::StatusOr<Lease> Report(const Lease& lease, const absl::Status& status, LeaseResult result);

  // Takes note of what came of a lease. kUnavailable: for too long now, servers were out of reach.
  absl::Status CheckReach(const absl::Status& performed);
  void PauseAfterFailure();

  // What a model's computation returned, which is the work's or the worker's own fault unless
  // weights could not be pulled.
  absl::Status Computed(const absl::Status& status, const absl::Status& pulled);

  const Options options_;
  const Tracer tracer_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> joined_{false};               // asks for leases
  ThreadPool pool_;                               // cancelled by Abandon
  Pause pause_;                                   // cut by Stop
  std::unique_ptr<CoordinatorStub> coordinator_;  // for the job and leases; cancelled by Abandon
  std::unique_ptr<CoordinatorStub> results_;      // for what came of them; cancelled by Abandon
  LeaseRenewer renewer_;

  // Of the job, once it is known; data_fingerprint_ tells whether workers compute from the same.
  DataSets data_;
  std::string data_fingerprint_;
  ClusterInfo cluster_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<BatchSource> batches_;
  std::unique_ptr<ShardChannels> channels_;
  std::unique_ptr<WeightSource> weights_;
  bool ways_told_ = false;

  // What Abandon has to end.
  absl::Mutex mutex_;
  WeightSource* pulling_ ABSL_GUARDED_BY(mutex_) = nullptr;  // weights_
  GradientPush* pushing_ ABSL_GUARDED_BY(mutex_) = nullptr;  // of the lease in hand

  // Of the lease in hand; kept for their memory.
  std::vector<std::shared_ptr<TensorValues>> gradients_;
  Batch batch_;
  std::optional<BatchId> gathered_;  // what `batch_` holds, if it is of the training set
  bool at_fault_ = false;            // what failed is the worker's computation, not its environment
  int failures_ = 0;                 // in a row
  std::optional<absl::Duration>
      unreached_since_;  // all leases failed because of a server's absence
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_WORKER_H_

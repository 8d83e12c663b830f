// SPDX-License-Identifier: Apache-2.0

// The work of a lease: pulls the weights of its step, computes on its batch, pushes the gradient.

#ifndef PERCENTDELTA_WORKER_LEASE_WORK_H_
#define PERCENTDELTA_WORKER_LEASE_WORK_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/push.h"
#include "client/shard_channels.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "common/base/trace.h"
#include "common/cluster/cluster_info.h"
#include "common/cluster/lease.h"
#include "worker/data/batches.h"
#include "worker/data/dataset.h"
#include "worker/lease_renewer.h"
#include "worker/models/model.h"
#include "worker/weight_source.h"
#include "worker/worker_options.h"

namespace percentdelta {

// Not thread-safe except Cancel. Call Prepare once, Connect in every generation, and then Perform
// for each of its leases.
class LeaseWork {
 public:
  // All must outlive the work. A cancelled pool ends computations. Notes progress in `renewer`.
  LeaseWork(const WorkerOptions& options, const Tracer& tracer, ThreadPool& pool,
            LeaseRenewer& renewer);

  // Makes the model and loads the data of the job. After an error the worker cannot do the job, and
  // must not take a lease.
  absl::Status Prepare(const Job& job, const std::function<bool()>& cancelled);
  bool prepared() const { return model_ != nullptr; }
  std::string arithmetic() const { return model_->arithmetic(); }
  const std::string& data_fingerprint() const { return data_.fingerprint; }

  // Connects to the shards of a generation of the cluster.
  void Connect(const ClusterInfo& cluster);

  // Trains or evaluates, as the lease says, and fills in the outcome and the times of `result`.
  absl::Status Perform(const Lease& lease, LeaseResult& result);

  // Whether the last lease failed through this worker or its work, and not its environment.
  bool at_fault() const { return at_fault_; }

  // After calls that could not reach a shard: see common/transport/channel.h.
  void ResetBackoff() const { channels_->ResetBackoff(); }

  // Ends transfers, later ones too, once the pool has been cancelled. May be called from any
  // thread.
  void Cancel();

 private:
  absl::Status Train(const Lease& lease, LeaseResult& result);
  absl::StatusOr<BatchResult> ComputeGradient(const Lease& lease, const TraceSubject& subject,
                                              GradientPush& push, TensorValues& gradient,
                                              absl::Duration& pull_time);
  absl::Status Evaluate(const Lease& lease, LeaseResult& result);

  // Makes `batch_` the examples of a slot, unless it holds them already.
  void Gather(const BatchId& batch);

  // Returns memory for a gradient that no push holds any more.
  std::shared_ptr<TensorValues> TakeGradient();

  // Returns what the model returned, or the reason why that does not count. A model's error is the
  // worker's or the work's own fault unless the weights could not be pulled.
  absl::StatusOr<BatchResult> CheckBatchResult(absl::StatusOr<BatchResult> batch,
                                               const absl::Status& pulled);

  // Notes that `error` is the fault of this worker or of its work.
  absl::Status AtFault(absl::Status error);

  // Logs how values travel to the shards and back.
  Transport transport() const;
  void LogTransport() const;

  const WorkerOptions& options_;
  const Tracer& tracer_;
  ThreadPool& pool_;
  LeaseRenewer& renewer_;
  const SteadyClock clock_;

  // Of the job.
  DataSets data_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<BatchSource> batches_;

  // Of the generation.
  Job job_;
  std::unique_ptr<ShardChannels> channels_;
  std::unique_ptr<WeightSource> weights_;
  bool transport_logged_ = false;

  // What Cancel has to end.
  absl::Mutex mutex_;
  WeightSource* pulling_ ABSL_GUARDED_BY(mutex_) = nullptr;  // weights_
  GradientPush* pushing_ ABSL_GUARDED_BY(mutex_) = nullptr;  // of the current lease

  // Of the current lease; kept for their memory.
  std::vector<std::shared_ptr<TensorValues>> gradients_;
  Batch batch_;
  std::optional<BatchId> gathered_;  // the training batch that `batch_` holds
  bool at_fault_ = false;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_LEASE_WORK_H_

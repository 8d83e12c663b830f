// SPDX-License-Identifier: Apache-2.0

#include "worker/lease_work.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "worker/layer_trace.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kTransferDeadline = absl::Minutes(10);
constexpr size_t kMaxGradientsKept = 3;

// Longer than the lease's deadline: late work counts, and tells the coordinator how long work
// takes. If transfers ended at that deadline, a worker slower than it would never complete a lease.
// Dead peers are detected by keepalive.
absl::Duration TransferDeadline(const Lease& lease) {
  return std::max(lease.deadline, kTransferDeadline);
}

bool IsFinite(const TensorValues& gradient) {
  for (const auto& values : gradient) {
    if (!std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); }))
      return false;
  }
  return true;
}

void SetOutcome(const BatchResult& batch, LeaseResult& result) {
  result.loss_sum = batch.loss_sum;
  result.correct = batch.correct;
  result.examples = batch.examples;
}

absl::Status LeavingError() { return absl::CancelledError("the worker is leaving"); }

// Prefixes the model's message with the name of the set, "training" or "test".
absl::Status CheckDataset(const Model& model, absl::string_view set, const Dataset& dataset) {
  absl::Status status = model.CheckDataset(dataset);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("data: the ", set,
                                                  " set does not fit the job: ", status.message()));
}

}  // namespace

LeaseWork::LeaseWork(const WorkerOptions& options, const Tracer& tracer, ThreadPool& pool,
                     LeaseRenewer& renewer)
    : options_(options), tracer_(tracer), pool_(pool), renewer_(renewer) {}

absl::Status LeaseWork::Prepare(const Job& job, const std::function<bool()>& cancelled) {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, MakeModel(job.model, {&pool_, options_.isa}));
  ASSIGN_OR_RETURN(DataSets data, options_.load_data(job, cancelled));
  RETURN_IF_ERROR(CheckDataset(*model, "training", *data.training));
  if (data.test != nullptr) RETURN_IF_ERROR(CheckDataset(*model, "test", *data.test));
  data_ = std::move(data);
  model_ = std::move(model);
  batches_ = std::make_unique<BatchSource>(job.seed, job.data.training_examples);
  return absl::OkStatus();
}

void LeaseWork::Connect(const ClusterInfo& cluster) {
  {
    absl::MutexLock lock(&mutex_);
    pulling_ = nullptr;
  }
  weights_.reset();  // before the channels it pulls from
  job_ = cluster.job;
  channels_ =
      std::make_unique<ShardChannels>(job_.model, cluster.generation, cluster.shard_addresses,
                                      options_.shares_memory, options_.credentials);
  weights_ = std::make_unique<WeightSource>(*channels_, kTransferDeadline, tracer_);
  transport_logged_ = false;
  absl::MutexLock lock(&mutex_);
  pulling_ = weights_.get();
  if (pool_.cancelled()) pulling_->Cancel();
}

void LeaseWork::Cancel() {
  absl::MutexLock lock(&mutex_);
  if (pulling_ != nullptr) pulling_->Cancel();
  if (pushing_ != nullptr) pushing_->Cancel();
}

absl::Status LeaseWork::Perform(const Lease& lease, LeaseResult& result) {
  at_fault_ = false;
  return lease.kind == Lease::Kind::kTrain ? Train(lease, result) : Evaluate(lease, result);
}

absl::Status LeaseWork::AtFault(absl::Status error) {
  at_fault_ = true;
  return error;
}

std::shared_ptr<TensorValues> LeaseWork::TakeGradient() {
  for (const std::shared_ptr<TensorValues>& gradient : gradients_) {
    if (gradient.use_count() != 1) continue;
    std::atomic_thread_fence(std::memory_order_acquire);  // after the last owner's reads
    return gradient;
  }
  auto fresh = std::make_shared<TensorValues>(job_.model.tensors.size());
  if (gradients_.size() < kMaxGradientsKept) gradients_.push_back(fresh);
  return fresh;
}

void LeaseWork::LogTransport() const {
  const OfferedMemory& memory = channels_->memory();
  options_.log->info("transport shared_memory_shards={} grpc_shards={}", memory.takers(),
                     channels_->shards() - memory.takers());
  if (!memory.status().ok()) {
    options_.log->warn("no shared memory reason=\"{}\"", memory.status().message());
  }
}

Transport LeaseWork::transport() const {
  if (channels_ == nullptr) return Transport::kUnknown;
  const int takers = channels_->memory().takers();
  if (takers == 0) return Transport::kConnection;
  return takers == channels_->shards() ? Transport::kSharedMemory : Transport::kBoth;
}

void LeaseWork::Gather(const BatchId& batch) {
  if (gathered_ == batch) return;
  const TraceSpan span(tracer_, "gather batch", {});
  const absl::Span<const int64_t> examples =
      batches_->Examples(batch.epoch, batch.batch_index, job_.batch_size);
  GatherBatch(*data_.training, examples, batch_);
  gathered_ = batch;
}

absl::Status LeaseWork::Train(const Lease& lease, LeaseResult& result) {
  const TraceSubject subject = {.step = lease.step, .slot = lease.slot};
  const TraceSpan span(tracer_, "train", subject);
  const absl::Duration begin = clock_.Now();
  weights_->SelectStep(lease.step);
  Gather(lease.batch);
  batch_.random_key = GradientKey(job_.seed, lease.step, lease.slot);

  const std::shared_ptr<TensorValues> gradient = TakeGradient();
  GradientPush push(*channels_, {lease.step, lease.slot, lease.checkpoint}, TransferDeadline(lease),
                    gradient, tracer_);
  const absl::Cleanup pushed = [this] {
    absl::MutexLock lock(&mutex_);
    pushing_ = nullptr;
  };
  {
    absl::MutexLock lock(&mutex_);
    pushing_ = &push;
  }
  ASSIGN_OR_RETURN(const BatchResult batch,
                   ComputeGradient(lease, subject, push, *gradient, result.pull));
  const absl::Duration computed = clock_.Now();
  result.compute = computed - begin - result.pull;
  if (!std::isfinite(batch.loss_sum)) {
    result.loss_sum = batch.loss_sum;
    return AtFault(absl::InvalidArgumentError(
        absl::StrCat("the loss of step ", lease.step,
                     " is not finite: the training diverges; use a smaller learning rate, or "
                     "dampen the momentum")));
  }
  // While the last values travel, gather the batch of the likely next lease: slots tend to stay
  // with their worker.
  if (lease.step + 1 < job_.max_steps) Gather(BatchOf(job_, lease.step + 1, lease.slot));
  const TraceSpan waiting(tracer_, "await push", subject);
  absl::Status status = push.Finish();
  if (!status.ok() && !pool_.cancelled() && !IsFinite(*gradient)) {
    result.loss_sum = std::numeric_limits<double>::quiet_NaN();
    return AtFault(absl::InvalidArgumentError(
        absl::StrCat("the gradient of step ", lease.step,
                     " is not finite: the training diverges; use a smaller learning rate, or clip "
                     "the gradient")));
  }
  if (status.ok() && !std::exchange(transport_logged_, true)) LogTransport();
  result.push = clock_.Now() - computed;
  result.transport = transport();
  SetOutcome(batch, result);
  return status;
}

absl::StatusOr<BatchResult> LeaseWork::ComputeGradient(const Lease& lease,
                                                       const TraceSubject& subject,
                                                       GradientPush& push, TensorValues& gradient,
                                                       absl::Duration& pull_time) {
  LayerTrace layers(tracer_, job_.model, subject);
  absl::Status pulled;
  TensorHooks hooks;
  hooks.await_weights = [&](int tensor) {
    layers.WeightsAwaited(tensor);
    const absl::Duration before = clock_.Now();
    pulled = pool_.cancelled() ? LeavingError() : weights_->Await(tensor);
    pull_time += clock_.Now() - before;
    renewer_.Progress();
    if (tensor == 0) options_.faults.Pass("pull");
    layers.WeightsReady(tensor);
    return pulled;
  };
  hooks.gradient_ready = [&](int tensor) {
    if (pool_.cancelled()) return;  // it may not have been computed
    push.Ready(tensor);
    renewer_.Progress();
    if (tensor == 0) options_.faults.Pass("push");
    layers.GradientReady(tensor);
    // The next lease is not known yet, but its step is almost certain.
    if (lease.step + 1 < job_.max_steps) weights_->Prefetch(lease.step + 1);
  };
  return CheckBatchResult(model_->Gradient(weights_->weights(), batch_, hooks, gradient), pulled);
}

absl::StatusOr<BatchResult> LeaseWork::CheckBatchResult(absl::StatusOr<BatchResult> batch,
                                                        const absl::Status& pulled) {
  if (pool_.cancelled()) return LeavingError();
  if (!batch.ok() && pulled.ok()) return AtFault(batch.status());
  return batch;
}

absl::Status LeaseWork::Evaluate(const Lease& lease, LeaseResult& result) {
  const int64_t count = data_.test == nullptr ? 0 : data_.test->count;
  if (lease.first_example < 0 || lease.example_count < 1 ||
      lease.example_count > count - lease.first_example) {
    return AtFault(absl::InvalidArgumentError(
        absl::StrCat("evaluation: expected test examples within 0..", count - 1, ", got ",
                     lease.example_count, " from ", lease.first_example)));
  }
  const TraceSpan span(tracer_, "evaluate", {.step = lease.step});
  const absl::Duration begin = clock_.Now();
  weights_->SelectStep(lease.step);
  gathered_.reset();
  std::vector<int64_t> examples(lease.example_count);
  std::iota(examples.begin(), examples.end(), lease.first_example);
  GatherBatch(*data_.test, examples, batch_);
  absl::Status pulled;
  TensorHooks hooks;
  hooks.await_weights = [&](int tensor) {
    renewer_.Progress();
    pulled = pool_.cancelled() ? LeavingError() : weights_->Await(tensor);
    return pulled;
  };
  ASSIGN_OR_RETURN(const BatchResult batch,
                   CheckBatchResult(model_->Evaluate(weights_->weights(), batch_, hooks), pulled));
  result.compute = clock_.Now() - begin;
  SetOutcome(batch, result);
  return absl::OkStatus();
}

}  // namespace percentdelta

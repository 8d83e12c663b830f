#include "worker/worker.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/push.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kCallDeadline = absl::Seconds(5);
constexpr absl::Duration kLeavingDeadline = absl::Seconds(1);
constexpr absl::Duration kLongestWait = absl::Seconds(1);  // which Stop lets pass
constexpr absl::Duration kGatheringPause = absl::Milliseconds(100);
constexpr absl::Duration kFirstPause = absl::Milliseconds(20);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
constexpr absl::Duration kTransferDeadline = absl::Minutes(10);
constexpr size_t kGradientsKept = 3;

// Not the lease's: work that comes late counts, and tells the coordinator how long work takes. Were
// it ended instead, a worker slower than the deadline would begin again for ever. A peer that has
// died is found by keepalive.
absl::Duration TransferDeadline(const Lease& lease) {
  return std::max(lease.deadline, kTransferDeadline);
}

// The time between a computation's hooks: waiting for weights, a layer forward, a gradient made.
class LayerTrace {
 public:
  LayerTrace(const Tracer& tracer, const ModelSpec& model, const TraceSubject& subject)
      : laps_(tracer), model_(model), subject_(subject) {}

  void Await(int tensor) {
    if (model_.tensors[tensor].layer() != layer_) EndForward();
  }

  void Came(int tensor) {
    laps_.End("await weights", Of(tensor));
    layer_ = model_.tensors[tensor].layer();
  }

  void Made(int tensor) {
    EndForward();
    laps_.End("backward", Of(tensor));
  }

 private:
  TraceSubject Of(int tensor) const {
    TraceSubject subject = subject_;
    subject.tensor = model_.tensors[tensor].name;
    return subject;
  }

  void EndForward() {
    if (!layer_.empty()) laps_.End(absl::StrCat("forward ", layer_), subject_);
    layer_ = {};
  }

  TraceLaps laps_;
  const ModelSpec& model_;
  const TraceSubject subject_;
  absl::string_view layer_;  // that is being computed forward; empty: none
};

bool IsFinite(const TensorValues& gradient) {
  for (const auto& values : gradient) {
    if (!std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); }))
      return false;
  }
  return true;
}

absl::Status Leaving() { return absl::CancelledError("the worker leaves"); }

// Of one of the job's two sets. The model's message, with the name of the set.
absl::Status CheckDataset(const Model& model, absl::string_view what, const Dataset& dataset) {
  absl::Status status = model.CheckDataset(dataset);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("data: the ", what,
                                                  " set does not fit the job: ", status.message()));
}

}  // namespace

Worker::Worker(Options options)
    : options_([&] {
        if (options.log == nullptr) options.log = MakeSilentLogger();
        return std::move(options);
      }()),
      tracer_(options_.trace, absl::StrCat("worker ", options_.name)),
      pool_(options_.threads > 0 ? options_.threads
                                 : std::max(1U, std::thread::hardware_concurrency())),
      renewer_(MakeCoordinatorStub(options_.coordinator, kCallDeadline), options_.name) {
  RetryPolicy policy;
  policy.give_up_after = options_.give_up_after;
  policy.stopped = [this] { return stopped_.load(); };
  for (auto* stub : {&coordinator_, &results_}) {
    *stub = MakeRetryingStub(MakeCoordinatorStub(options_.coordinator, kCallDeadline),
                             options_.coordinator, policy, options_.log);
  }
}

Worker::~Worker() = default;

void Worker::Stop() {
  stopped_ = true;
  // A call for a lease may have been answered by now, and the lease must be given back: its waiting
  // is left to end. Who has not joined can have none.
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
  absl::MutexLock lock(&mutex_);
  if (pulling_ != nullptr) pulling_->Cancel();
  if (pushing_ != nullptr) pushing_->Cancel();
}

absl::Status Worker::Prepare(const ClusterInfo& cluster) {
  const Job& job = cluster.job;
  absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(job.model, {&pool_, options_.isa});
  if (!model.ok()) return model.status();
  absl::StatusOr<DataSets> data = options_.load_data(job, [this] { return stopped_.load(); });
  if (!data.ok()) return data.status();
  absl::Status status = CheckDataset(**model, "training", *data->training);
  if (status.ok() && data->test != nullptr) {
    status = CheckDataset(**model, "test", *data->test);
  }
  if (!status.ok()) return status;
  data_ = *std::move(data);
  data_fingerprint_ = data_.fingerprint;
  model_ = *std::move(model);
  batches_ = std::make_unique<BatchSource>(job.seed, job.data.training_examples);
  return absl::OkStatus();
}

absl::Status Worker::Enter() {
  bool said = false;
  const SteadyClock clock;
  const absl::Duration begin = clock.Now();
  while (!stopped_) {
    absl::StatusOr<ClusterInfo> cluster = coordinator_->GetJob();
    if (!cluster.ok()) return cluster.status();
    if (model_ == nullptr) {
      RETURN_IF_ERROR(Prepare(*cluster));
      cluster_ = *std::move(cluster);
      continue;  // meanwhile, the cluster may have gone on
    }
    if (cluster->job_hash != cluster_.job_hash) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the cluster has begun another job: expected ", cluster_.job_hash.substr(0, 12), ", got ",
          cluster->job_hash.substr(0, 12), "; start the worker anew"));
    }
    if (cluster->generation == 0) {
      if (!said) options_.log->info("waiting for shards");
      said = true;
      if (clock.Now() - begin > options_.give_up_after) {
        return absl::UnavailableError(absl::StrCat("the coordinator at ", options_.coordinator,
                                                   " answers, but shards are"
                                                   " missing since ",
                                                   absl::FormatDuration(options_.give_up_after)));
      }
      pause_.Take(kGatheringPause);
      continue;
    }
    const Job& job = cluster->job;
    {
      absl::MutexLock lock(&mutex_);
      pulling_ = nullptr;
    }
    weights_.reset();  // before the channels it pulls from
    channels_ = std::make_unique<ShardChannels>(job.model, cluster->generation,
                                                cluster->shard_addresses, options_.shares_memory);
    joined_ = true;
    weights_ = std::make_unique<WeightSource>(*channels_, kTransferDeadline, tracer_);
    {
      absl::MutexLock lock(&mutex_);
      pulling_ = weights_.get();
      if (pool_.cancelled()) pulling_->Cancel();
    }
    ways_told_ = false;
    cluster_ = *std::move(cluster);
    options_.log->info("joined generation={} shards={} job={} arithmetic={} threads={}",
                       cluster_.generation, channels_->shards(), cluster_.job.name,
                       model_->arithmetic(), pool_.threads());
    return absl::OkStatus();
  }
  return absl::CancelledError("stopped");
}

absl::Status Worker::Run() {
  absl::Status status = Enter();
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
    if (lease->kind == Lease::Kind::kFailed) {
      return absl::AbortedError(absl::StrCat("the training failed: ", lease->message));
    }
    if (lease->kind == Lease::Kind::kWait) continue;
    if (stopped_) break;
    options_.log->debug("lease taken step={} slot={}", lease->step, lease->slot);
    if (lease->generation != cluster_.generation) status = Enter();
    if (!status.ok()) break;
    LeaseResult result;
    at_fault_ = false;
    renewer_.Begin(*lease);
    const absl::Status performed =
        lease->kind == Lease::Kind::kTrain ? Train(*lease, result) : Evaluate(*lease, result);
    renewer_.End();
    lease = Report(*lease, performed, std::move(result));
    status = lease.ok() ? CheckReach(performed) : lease.status();
  }
  if (!stopped_) return status;
  // What came with the last answer is handed back, so that nobody has to wait for its deadline.
  if (lease.ok() && (lease->kind == Lease::Kind::kTrain || lease->kind == Lease::Kind::kEvaluate)) {
    at_fault_ = false;
    Report(*lease, Leaving(), LeaseResult()).IgnoreError();
  }
  return absl::OkStatus();
}

absl::StatusOr<Lease> Worker::NextLease() {
  const TraceSpan span(tracer_, "acquire lease", {});
  return coordinator_->AcquireLease({options_.name, model_->arithmetic(), data_fingerprint_},
                                    kLongestWait);
}

absl::StatusOr<Lease> Worker::Complete(LeaseResult result) {
  result.leaving = stopped_;
  if (!pool_.cancelled()) return results_->CompleteLease(result);
  // Its own calls are cancelled; nobody has to wait for the lease's deadline if this one succeeds.
  return MakeCoordinatorStub(options_.coordinator, kLeavingDeadline)->CompleteLease(result);
}

absl::StatusOr<Lease> Worker::Report(const Lease& lease, const absl::Status& status,
                                     LeaseResult result) {
  result.generation = lease.generation;
  result.lease_id = lease.id;
  result.worker = options_.name;
  if (status.ok()) {
    if (failures_ > 0) options_.log->info("working again dropped_leases={}", failures_);
    failures_ = 0;
  } else {
    result.failure = std::string(status.message());
    result.caused_by_environment = !at_fault_;
    // An outage is one line, however many leases it costs.
    if (!stopped_ && (failures_ == 0 || !result.caused_by_environment)) {
      options_.log->warn("lease dropped step={} slot={} at_fault={} reason=\"{}\"", lease.step,
                         lease.slot, !result.caused_by_environment, status.message());
    }
    if (!stopped_) PauseAfterFailure();
    if (absl::IsUnavailable(status)) channels_->ResetBackoff();
  }
  const TraceSpan span(tracer_, "complete lease", {.step = lease.step, .slot = lease.slot});
  absl::StatusOr<Lease> next = Complete(std::move(result));
  // Of another generation by now: the lease is void, and so is its result.
  if (!next.ok() && absl::IsFailedPrecondition(next.status())) return Lease{};
  return next;
}

absl::Status Worker::CheckReach(const absl::Status& performed) {
  // Weights that are gone are the sign of a cluster that has gone on.
  if (performed.ok() || at_fault_ || absl::IsFailedPrecondition(performed)) {
    unreached_since_.reset();
    return absl::OkStatus();
  }
  const absl::Duration now = SteadyClock().Now();
  if (!unreached_since_) unreached_since_ = now;
  if (now - *unreached_since_ <= options_.give_up_after) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("a part of the cluster has been out of reach for ",
                                             absl::FormatDuration(options_.give_up_after),
                                             "; the last error: ", performed.message()));
}

absl::Status Worker::Computed(const absl::Status& status, const absl::Status& pulled) {
  at_fault_ = pulled.ok();
  return status;
}

void Worker::PauseAfterFailure() {
  std::minstd_rand random{std::random_device{}()};  // workers must not come back all at once
  const absl::Duration pause =
      std::min(kFirstPause * std::exp2(std::min(failures_, 16)), kLongestPause);
  ++failures_;
  pause_.Take(pause * std::uniform_real_distribution<double>(0.5, 1)(random));
}

std::shared_ptr<TensorValues> Worker::TakeGradient() {
  for (const std::shared_ptr<TensorValues>& gradient : gradients_) {
    if (gradient.use_count() != 1) continue;
    std::atomic_thread_fence(std::memory_order_acquire);  // whoever let go of it has read it before
    return gradient;
  }
  auto fresh = std::make_shared<TensorValues>(cluster_.job.model.tensors.size());
  if (gradients_.size() < kGradientsKept) gradients_.push_back(fresh);
  return fresh;
}

void Worker::TellWays() const {
  const OfferedMemory& memory = channels_->memory();
  options_.log->info("values go by_shared_memory={} by_connection={} of_shards={}", memory.takers(),
                     channels_->shards() - memory.takers(), channels_->shards());
  if (!memory.status().ok()) {
    options_.log->warn("no shared memory reason=\"{}\"", memory.status().message());
  }
}

void Worker::Gather(const BatchId& batch) {
  if (gathered_ == batch) return;
  const TraceSpan span(tracer_, "gather batch", {});
  const absl::Span<const int64_t> examples =
      batches_->Examples(batch.epoch, batch.batch_index, cluster_.job.batch_size);
  GatherBatch(*data_.training, examples, batch_);
  gathered_ = batch;
}

absl::Status Worker::Train(const Lease& lease, LeaseResult& result) {
  const Job& job = cluster_.job;
  const TraceSubject subject = {.step = lease.step, .slot = lease.slot};
  const TraceSpan span(tracer_, "train", subject);
  const SteadyClock clock;
  const absl::Duration begin = clock.Now();
  weights_->Turn(lease.step);
  Gather(lease.batch);
  batch_.random_key = GradientKey(job.seed, lease.step, lease.slot);

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
  LayerTrace layers(tracer_, job.model, subject);
  absl::Status pulled;
  TensorHooks hooks;
  hooks.await_weights = [&](int tensor) {
    layers.Await(tensor);
    const absl::Duration before = clock.Now();
    pulled = pool_.cancelled() ? Leaving() : weights_->Await(tensor);
    result.pull += clock.Now() - before;
    renewer_.Progress();
    if (tensor == 0) options_.faults.Pass("pull");
    layers.Came(tensor);
    return pulled;
  };
  hooks.gradient_ready = [&](int tensor) {
    if (pool_.cancelled()) return;  // it may not have been computed
    push.Ready(tensor);
    renewer_.Progress();
    if (tensor == 0) options_.faults.Pass("push");
    layers.Made(tensor);
    // The next lease is not known yet, but its step is all but certain.
    if (lease.step + 1 < job.max_steps) weights_->Prefetch(lease.step + 1);
  };
  const absl::StatusOr<BatchResult> batch =
      model_->Gradient(weights_->weights(), batch_, hooks, *gradient);
  if (pool_.cancelled()) return Leaving();
  if (!batch.ok()) return Computed(batch.status(), pulled);
  const absl::Duration computed = clock.Now();
  result.compute = computed - begin - result.pull;
  if (!std::isfinite(batch->loss_sum)) {
    at_fault_ = true;
    return absl::InvalidArgumentError(
        absl::StrCat("the loss of step ", lease.step,
                     " is not finite: the training diverges;"
                     " take a smaller learning rate, or dampen the momentum"));
  }
  // While the last values travel: if slots do not change hands, the next batch.
  if (lease.step + 1 < job.max_steps) Gather(BatchOf(job, lease.step + 1, lease.slot));
  const TraceSpan waiting(tracer_, "await push", subject);
  absl::Status status = push.Finish();
  if (!status.ok() && !pool_.cancelled() && !IsFinite(*gradient)) {
    at_fault_ = true;
    return absl::InvalidArgumentError(absl::StrCat("the gradient of step ", lease.step,
                                                   " is not finite: the training diverges; take a "
                                                   "smaller learning rate, or clip the gradient"));
  }
  if (status.ok() && !std::exchange(ways_told_, true)) TellWays();
  result.push = clock.Now() - computed;
  result.loss_sum = batch->loss_sum;
  result.correct = batch->correct;
  result.examples = batch->examples;
  return status;
}

absl::Status Worker::Evaluate(const Lease& lease, LeaseResult& result) {
  const int64_t count = data_.test == nullptr ? 0 : data_.test->count;
  if (lease.first_example < 0 || lease.example_count < 1 ||
      lease.example_count > count - lease.first_example) {
    at_fault_ = true;
    return absl::InvalidArgumentError(absl::StrCat("evaluation: expected test examples within 0..",
                                                   count - 1, ", got ", lease.example_count,
                                                   " from ", lease.first_example));
  }
  const TraceSpan span(tracer_, "evaluate", {.step = lease.step});
  const SteadyClock clock;
  const absl::Duration begin = clock.Now();
  weights_->Turn(lease.step);
  gathered_.reset();
  std::vector<int64_t> examples(lease.example_count);
  std::iota(examples.begin(), examples.end(), lease.first_example);
  GatherBatch(*data_.test, examples, batch_);
  absl::Status pulled;
  TensorHooks hooks;
  hooks.await_weights = [&](int tensor) {
    renewer_.Progress();
    pulled = pool_.cancelled() ? Leaving() : weights_->Await(tensor);
    return pulled;
  };
  const absl::StatusOr<BatchResult> batch = model_->Evaluate(weights_->weights(), batch_, hooks);
  if (pool_.cancelled()) return Leaving();
  if (!batch.ok()) return Computed(batch.status(), pulled);
  result.compute = clock.Now() - begin;
  result.loss_sum = batch->loss_sum;
  result.correct = batch->correct;
  result.examples = batch->examples;
  return absl::OkStatus();
}

}  // namespace percentdelta

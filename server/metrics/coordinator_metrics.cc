// SPDX-License-Identifier: Apache-2.0

#include "server/metrics/coordinator_metrics.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/metrics/metric_list.h"

namespace percentdelta {
namespace {

double Number(int64_t value) { return static_cast<double>(value); }

void AddState(const TrainingMetrics& metrics, MetricList& list) {
  const Progress& progress = metrics.progress;
  for (const TrainingState state : {TrainingState::kGathering, TrainingState::kTraining,
                                    TrainingState::kFinished, TrainingState::kFailed}) {
    list.Gauge("training_state", "1 for the state that the training is in, 0 for the others.",
               progress.state == state ? 1 : 0, {{"state", std::string(ToString(state))}});
  }
  list.Gauge("step", "Step whose gradients are being computed.", Number(progress.step));
  list.Gauge("job_steps", "Steps of the whole training.", Number(progress.max_steps));
  list.Gauge("generation", "Number of the open generation of the cluster; 0: none.",
             static_cast<double>(progress.generation));
  list.Counter("generations_opened_total", "Generations opened since the process started.",
               Number(metrics.generations));
  list.Gauge("shards", "Shards of the cluster.", progress.shard_count);
  list.Gauge("shards_missing", "Shards that have not registered.", metrics.missing_shards);
  list.Gauge("workers", "Workers that called within the last minute.", progress.workers);
}

void AddPoint(const std::string& set, const ProgressPoint& point, MetricList& list) {
  const MetricList::Labels labels = {{"set", set}};
  list.Gauge("point_step", "Step of the newest loss and accuracy.", Number(point.step), labels);
  list.Gauge("loss", "Newest mean loss: of a step's batches, or of the test set.", point.loss,
             labels);
  list.Gauge("accuracy", "Newest share of examples classified correctly, 0 to 1.", point.accuracy,
             labels);
  for (const Metric& metric : point.metrics) {
    list.Gauge("worker_metric", "Newest mean of a metric that the workers report.", metric.value,
               {{"set", set}, {"metric", metric.name}});
  }
}

void AddWork(const TrainingMetrics& metrics, MetricList& list) {
  const Progress& progress = metrics.progress;
  list.Counter("examples_total", "Training examples of completed leases.",
               Number(metrics.examples));
  list.Gauge("examples_per_second", "Training examples per second over the last minute.",
             progress.examples_per_second);
  list.Counter("leases_given_total", "Leases given to workers.", Number(metrics.leases_given));
  list.Counter("leases_expired_total", "Leases whose deadline passed before their result came.",
               Number(progress.expired_leases));
  list.Counter("leases_speculative_total",
               "Leases given to a second worker because the first was slow.",
               Number(progress.speculative_leases));
  list.Counter("leases_failed_total", "Leases that workers could not complete.",
               Number(progress.failed_leases));
  list.Counter("leases_not_finite_total",
               "Leases that failed because the loss or the gradient was not finite.",
               Number(metrics.not_finite));
  list.Counter("lease_results_duplicate_total", "Results of work that was already done.",
               Number(progress.duplicate_results));
  list.Gauge("lease_calls_waiting", "Calls of workers that wait for work.",
             static_cast<double>(metrics.waiting_calls));
  const char* const help =
      "Parts of the time of completed training leases, as the workers report them: waiting for "
      "weights (pull), computing, waiting until the shards have the gradient (push).";
  list.Histogram("lease_seconds", help, metrics.pull, {{"part", "pull"}});
  list.Histogram("lease_seconds", help, metrics.compute, {{"part", "compute"}});
  list.Histogram("lease_seconds", help, metrics.push, {{"part", "push"}});
}

void AddCheckpoints(const Job& job, const TrainingMetrics& metrics, MetricList& list) {
  if (!metrics.progress.checkpoint) return;
  const CheckpointProgress& checkpoint = *metrics.progress.checkpoint;
  list.Gauge("checkpoint_step", "Step of the newest complete checkpoint; -1: none.",
             Number(checkpoint.step));
  list.Gauge("checkpoint_interval_steps", "Steps from a checkpoint of the job to the next.",
             Number(job.checkpoint ? job.checkpoint->every_steps : 0));
  list.Gauge("checkpoint_under_way", "1 while a checkpoint is being written.",
             checkpoint.under_way ? 1 : 0);
  if (metrics.checkpoint_time) {
    list.Gauge("checkpoint_timestamp_seconds",
               "Unix time at which the newest checkpoint was completed, or restored.",
               absl::ToDoubleSeconds(*metrics.checkpoint_time - absl::UnixEpoch()));
  }
  list.Counter("checkpoints_completed_total", "Checkpoints that were completed.",
               Number(metrics.checkpoints_completed));
  list.Counter("checkpoints_failed_total", "Checkpoints that could not be written.",
               Number(checkpoint.failures));
  list.Counter("checkpoints_skipped_total",
               "Checkpoints that were due while the previous one was still being written.",
               Number(checkpoint.skipped));
}

// How fast each tensor learns: the newest step that is complete.
void AddStatistics(const StepStatistics& step, MetricList& list) {
  list.Gauge("statistics_step", "Step of the newest statistics of tensors.", Number(step.step));
  for (const TensorStatistics& tensor : step.updates) {
    const MetricList::Labels labels = {{"layer", tensor.layer}, {"tensor", tensor.tensor}};
    list.Gauge("relative_change_ratio",
               "L1 norm of the tensor's newest change, before momentum, relative to its weights.",
               tensor.relative_delta, labels);
    list.Gauge("sgd_relative_change_ratio",
               "The same for the change that plain SGD at this rate would have made.",
               tensor.sgd_relative_delta, labels);
    list.Gauge("multiplier", "Factor of the update rule for the tensor's gradient.",
               tensor.multiplier, labels);
    list.Gauge("learning_rate", "Learning rate, schedule included.", tensor.rate, labels);
    list.Gauge("gradient_norm", "L2 norm of the tensor's aggregated gradient.", tensor.gradient_l2,
               labels);
    list.Gauge("weight_norm", "L2 norm of the tensor's weights before the step.", tensor.weight_l2,
               labels);
  }
}

}  // namespace

std::vector<prometheus::MetricFamily> CoordinatorMetrics::Collect() const {
  MetricList list;
  const TrainingMetrics metrics = coordinator_.GetMetrics();
  AddState(metrics, list);
  if (metrics.training) AddPoint("training", *metrics.training, list);
  if (metrics.evaluation) AddPoint("test", *metrics.evaluation, list);
  AddWork(metrics, list);
  AddCheckpoints(coordinator_.job(), metrics, list);
  const StatisticsRing& ring = coordinator_.statistics();
  const int64_t newest = ring.newest();
  for (const StepStatistics& step : ring.Range(newest, newest, "")) AddStatistics(step, list);
  return list.Take();
}

}  // namespace percentdelta

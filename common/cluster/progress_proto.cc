// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/progress_proto.h"

namespace percentdelta {
namespace {

v1::GetProgressResponse::State ToProto(TrainingState state) {
  switch (state) {
    case TrainingState::kGathering:
      return v1::GetProgressResponse::GATHERING;
    case TrainingState::kTraining:
      return v1::GetProgressResponse::TRAINING;
    case TrainingState::kFinished:
      return v1::GetProgressResponse::FINISHED;
    case TrainingState::kFailed:
      return v1::GetProgressResponse::FAILED;
    case TrainingState::kPaused:
      return v1::GetProgressResponse::PAUSED;
    case TrainingState::kDraining:
      return v1::GetProgressResponse::DRAINING;
    case TrainingState::kDrained:
      return v1::GetProgressResponse::DRAINED;
  }
  return v1::GetProgressResponse::STATE_UNSPECIFIED;
}

TrainingState FromProto(v1::GetProgressResponse::State state) {
  switch (state) {
    case v1::GetProgressResponse::TRAINING:
      return TrainingState::kTraining;
    case v1::GetProgressResponse::FINISHED:
      return TrainingState::kFinished;
    case v1::GetProgressResponse::FAILED:
      return TrainingState::kFailed;
    case v1::GetProgressResponse::PAUSED:
      return TrainingState::kPaused;
    case v1::GetProgressResponse::DRAINING:
      return TrainingState::kDraining;
    case v1::GetProgressResponse::DRAINED:
      return TrainingState::kDrained;
    default:
      return TrainingState::kGathering;
  }
}

template <typename Point>
void PointToProto(const ProgressPoint& point, Point& proto) {
  proto.set_step(point.step);
  proto.set_loss(point.loss);
  proto.set_accuracy(point.accuracy);
  proto.set_seconds(point.seconds);
  for (const Metric& metric : point.metrics) {
    v1::Metric& added = *proto.add_metrics();
    added.set_name(metric.name);
    added.set_value(metric.value);
  }
}

}  // namespace

void ToProto(const ProgressPoint& point, v1::TrainingPoint& proto) { PointToProto(point, proto); }
void ToProto(const ProgressPoint& point, v1::EvaluationPoint& proto) { PointToProto(point, proto); }

Progress FromProto(const v1::GetProgressResponse& proto) {
  Progress progress;
  progress.state = FromProto(proto.state());
  progress.message = proto.message();
  progress.job_name = proto.job_name();
  progress.job_hash = proto.job_hash();
  progress.generation = proto.generation();
  progress.shard_count = proto.shard_count();
  progress.step = proto.step();
  progress.max_steps = proto.max_steps();
  progress.workers = proto.workers();
  progress.examples_per_second = proto.examples_per_second();
  progress.expired_leases = proto.expired_leases();
  progress.failed_leases = proto.failed_leases();
  progress.duplicate_results = proto.duplicate_results();
  progress.speculative_leases = proto.speculative_leases();
  progress.arithmetic = proto.arithmetic();
  progress.any_arithmetic = proto.any_arithmetic();
  progress.other_arithmetic = {proto.other_arithmetic().begin(), proto.other_arithmetic().end()};
  progress.data = proto.data();
  if (proto.has_mean_timings()) {
    progress.mean_times = LeaseTimes{absl::Microseconds(proto.mean_timings().pull_us()),
                                     absl::Microseconds(proto.mean_timings().compute_us()),
                                     absl::Microseconds(proto.mean_timings().push_us())};
  }
  if (proto.has_checkpoint()) {
    progress.checkpoint = CheckpointProgress{
        proto.checkpoint().step(), proto.checkpoint().under_way(), proto.checkpoint().failures(),
        proto.checkpoint().error(), proto.checkpoint().skipped()};
  }
  progress.training = PointsFromProto(proto.training());
  progress.evaluations = PointsFromProto(proto.evaluations());
  return progress;
}

void ToProto(const Progress& progress, v1::GetProgressResponse& proto) {
  proto.set_state(ToProto(progress.state));
  proto.set_message(progress.message);
  proto.set_job_name(progress.job_name);
  proto.set_job_hash(progress.job_hash);
  proto.set_generation(progress.generation);
  proto.set_shard_count(progress.shard_count);
  proto.set_step(progress.step);
  proto.set_max_steps(progress.max_steps);
  proto.set_workers(progress.workers);
  proto.set_examples_per_second(progress.examples_per_second);
  proto.set_expired_leases(progress.expired_leases);
  proto.set_failed_leases(progress.failed_leases);
  proto.set_duplicate_results(progress.duplicate_results);
  proto.set_arithmetic(progress.arithmetic);
  proto.set_any_arithmetic(progress.any_arithmetic);
  for (const std::string& other : progress.other_arithmetic) proto.add_other_arithmetic(other);
  proto.set_data(progress.data);
  if (progress.mean_times) {
    v1::Timings& times = *proto.mutable_mean_timings();
    times.set_pull_us(absl::ToInt64Microseconds(progress.mean_times->pull));
    times.set_compute_us(absl::ToInt64Microseconds(progress.mean_times->compute));
    times.set_push_us(absl::ToInt64Microseconds(progress.mean_times->push));
  }
  proto.set_speculative_leases(progress.speculative_leases);
  if (progress.checkpoint) {
    v1::CheckpointState& checkpoint = *proto.mutable_checkpoint();
    checkpoint.set_step(progress.checkpoint->step);
    checkpoint.set_under_way(progress.checkpoint->under_way);
    checkpoint.set_failures(progress.checkpoint->failures);
    checkpoint.set_error(progress.checkpoint->error);
    checkpoint.set_skipped(progress.checkpoint->skipped);
  }
  for (const ProgressPoint& point : progress.training) ToProto(point, *proto.add_training());
  for (const ProgressPoint& point : progress.evaluations) {
    ToProto(point, *proto.add_evaluations());
  }
}

}  // namespace percentdelta

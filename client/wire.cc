#include "client/wire.h"

#include <string>
#include <utility>
#include <vector>

#include "common/address.h"
#include "common/job_codec.h"

namespace percentdelta {
namespace {

Lease::Kind FromProto(v1::Lease::Kind kind) {
  switch (kind) {
    case v1::Lease::FINISHED:
      return Lease::Kind::kFinished;
    case v1::Lease::FAILED:
      return Lease::Kind::kFailed;
    case v1::Lease::TRAIN:
      return Lease::Kind::kTrain;
    case v1::Lease::EVALUATE:
      return Lease::Kind::kEvaluate;
    default:
      return Lease::Kind::kWait;
  }
}

TrainingState FromProto(v1::GetProgressResponse::State state) {
  switch (state) {
    case v1::GetProgressResponse::TRAINING:
      return TrainingState::kTraining;
    case v1::GetProgressResponse::FINISHED:
      return TrainingState::kFinished;
    case v1::GetProgressResponse::FAILED:
      return TrainingState::kFailed;
    default:
      return TrainingState::kGathering;
  }
}

template <typename Points>
std::vector<ProgressPoint> PointsFromProto(const Points& points) {
  std::vector<ProgressPoint> result;
  result.reserve(points.size());
  for (const auto& point : points) {
    result.push_back({point.step(), point.loss(), point.accuracy(), point.seconds()});
  }
  return result;
}

TensorUpdate FromProto(const v1::TensorUpdate& proto) {
  TensorUpdate update;
  update.step = proto.step();
  update.tensor = proto.tensor();
  update.layer = proto.layer();
  update.entries = proto.entries();
  update.gradient_l1 = proto.gradient_l1();
  update.gradient_l2 = proto.gradient_l2();
  update.weight_l1 = proto.weight_l1();
  update.weight_l2 = proto.weight_l2();
  update.rate = proto.rate();
  update.multiplier = proto.multiplier();
  update.relative_delta = proto.relative_delta();
  update.sgd_relative_delta = proto.sgd_relative_delta();
  return update;
}

}  // namespace

absl::StatusOr<ClusterJob> FromProto(const v1::GetJobResponse& proto) {
  absl::StatusOr<Job> job = JobFromProto(proto.job());
  if (!job.ok()) return job.status();
  if (proto.generation() != 0 && proto.shard_addresses().empty()) {
    return absl::DataLossError(
        "the coordinator's answer: expected the shards' addresses, got none");
  }
  for (const std::string& address : proto.shard_addresses()) {
    const absl::Status status = CheckHostAndPort("the coordinator's answer", address);
    if (!status.ok()) return absl::DataLossError(status.message());
  }
  return ClusterJob{*std::move(job),
                    proto.job_hash(),
                    proto.generation(),
                    {proto.shard_addresses().begin(), proto.shard_addresses().end()}};
}

Lease FromProto(const v1::Lease& proto) {
  Lease lease;
  lease.kind = FromProto(proto.kind());
  lease.generation = proto.generation();
  lease.id = proto.lease_id();
  lease.step = proto.step();
  lease.slot = proto.slot();
  lease.batch = {proto.epoch(), proto.batch_index()};
  lease.first_example = proto.first_example();
  lease.example_count = proto.example_count();
  lease.deadline = absl::Milliseconds(proto.deadline_ms());
  lease.message = proto.message();
  lease.checkpoint = proto.checkpoint();
  return lease;
}

v1::CompleteLeaseRequest ToProto(const LeaseResult& result) {
  v1::CompleteLeaseRequest proto;
  proto.set_generation(result.generation);
  proto.set_lease_id(result.lease_id);
  proto.set_worker(result.worker);
  proto.set_failure(result.failure);
  proto.set_not_at_fault(result.not_at_fault);
  proto.set_leaving(result.leaving);
  proto.set_loss_sum(result.loss_sum);
  proto.set_correct(result.correct);
  proto.set_examples(result.examples);
  proto.mutable_timings()->set_pull_us(absl::ToInt64Microseconds(result.pull));
  proto.mutable_timings()->set_compute_us(absl::ToInt64Microseconds(result.compute));
  proto.mutable_timings()->set_push_us(absl::ToInt64Microseconds(result.push));
  return proto;
}

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

StepStatistics FromProto(const v1::StepStatistics& proto) {
  StepStatistics step{proto.step(), {}};
  for (const v1::TensorUpdate& update : proto.updates()) {
    step.updates.push_back(FromProto(update));
  }
  return step;
}

}  // namespace percentdelta

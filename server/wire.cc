#include "server/wire.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/text.h"

namespace percentdelta {
namespace {

v1::Lease::Kind ToProto(Lease::Kind kind) {
  switch (kind) {
    case Lease::Kind::kWait:
      return v1::Lease::WAIT;
    case Lease::Kind::kFinished:
      return v1::Lease::FINISHED;
    case Lease::Kind::kFailed:
      return v1::Lease::FAILED;
    case Lease::Kind::kTrain:
      return v1::Lease::TRAIN;
    case Lease::Kind::kEvaluate:
      return v1::Lease::EVALUATE;
  }
  return v1::Lease::KIND_UNSPECIFIED;
}

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
  }
  return v1::GetProgressResponse::STATE_UNSPECIFIED;
}

template <typename Point>
void PointToProto(const ProgressPoint& point, Point& proto) {
  proto.set_step(point.step);
  proto.set_loss(point.loss);
  proto.set_accuracy(point.accuracy);
  proto.set_seconds(point.seconds);
}

absl::Status NoTensor(const std::string& name) {
  return absl::NotFoundError(
      absl::StrCat("tensor \"", name.substr(0, 100), "\": expected one of the job, got none"));
}

}  // namespace

NormSums FromProto(const v1::NormSums& proto) {
  return {proto.ratio_l1(), proto.gradient_l1(), proto.weight_l1(), proto.gradient_l2_squared(),
          proto.weight_l2_squared()};
}

void ToProto(const NormSums& sums, v1::NormSums& proto) {
  proto.set_ratio_l1(sums.ratio_l1);
  proto.set_gradient_l1(sums.gradient_l1);
  proto.set_weight_l1(sums.weight_l1);
  proto.set_gradient_l2_squared(sums.gradient_l2_squared);
  proto.set_weight_l2_squared(sums.weight_l2_squared);
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

void ToProto(const TensorUpdate& update, v1::TensorUpdate& proto) {
  proto.set_step(update.step);
  proto.set_tensor(update.tensor);
  proto.set_layer(update.layer);
  proto.set_entries(update.entries);
  proto.set_gradient_l1(update.gradient_l1);
  proto.set_gradient_l2(update.gradient_l2);
  proto.set_weight_l1(update.weight_l1);
  proto.set_weight_l2(update.weight_l2);
  proto.set_rate(update.rate);
  proto.set_multiplier(update.multiplier);
  proto.set_relative_delta(update.relative_delta);
  proto.set_sgd_relative_delta(update.sgd_relative_delta);
}

void ToProto(const StepStatistics& step, v1::StepStatistics& proto) {
  proto.set_step(step.step);
  for (const TensorUpdate& update : step.updates) ToProto(update, *proto.add_updates());
}

void ToProto(const ProgressPoint& point, v1::TrainingPoint& proto) { PointToProto(point, proto); }
void ToProto(const ProgressPoint& point, v1::EvaluationPoint& proto) { PointToProto(point, proto); }

absl::StatusOr<BlockSums> NormsFromProto(const ModelSpec& model,
                                         const v1::ReduceNormsRequest& proto) {
  BlockSums sums{model.Find(proto.tensor()), proto.step(), proto.first_block(), {}};
  if (sums.tensor < 0) return NoTensor(proto.tensor());
  for (const v1::NormSums& block : proto.blocks()) sums.blocks.push_back(FromProto(block));
  return sums;
}

absl::StatusOr<DeltaSums> DeltasFromProto(const ModelSpec& model,
                                          const v1::ReduceNormsRequest& proto) {
  DeltaSums sums{model.Find(proto.tensor()), proto.step(), proto.first_block(), {}};
  if (sums.tensor < 0) return NoTensor(proto.tensor());
  sums.blocks.assign(proto.deltas().begin(), proto.deltas().end());
  return sums;
}

ShardBeat FromProto(const v1::HeartbeatRequest& proto) {
  ShardBeat beat = {proto.shard(),
                    proto.shard_count(),
                    proto.job_hash(),
                    proto.address(),
                    proto.incarnation(),
                    proto.generation(),
                    {},
                    EscapeForLog(proto.trouble(), kMaxReasonBytes),
                    proto.gathered_steps(),
                    {proto.missing_slots().begin(), proto.missing_slots().end()}};
  for (const v1::CheckpointPart& part : proto.parts()) {
    beat.parts.push_back({part.step(),
                          {part.file(), part.bytes(), part.sha256()},
                          EscapeForLog(part.error(), kMaxReasonBytes)});
  }
  return beat;
}

void ToProto(const ShardBeat& beat, v1::HeartbeatRequest& proto) {
  proto.set_shard(beat.shard);
  proto.set_shard_count(beat.shard_count);
  proto.set_job_hash(beat.job_hash);
  proto.set_address(beat.address);
  proto.set_incarnation(beat.incarnation);
  proto.set_generation(beat.generation);
  proto.set_trouble(beat.trouble);
  proto.set_gathered_steps(beat.gathered_steps);
  for (const int32_t slot : beat.missing_slots) proto.add_missing_slots(slot);
  for (const CheckpointPart& part : beat.parts) {
    v1::CheckpointPart& each = *proto.add_parts();
    each.set_step(part.step);
    each.set_file(part.file.name);
    each.set_bytes(part.file.bytes);
    each.set_sha256(part.file.sha256);
    each.set_error(part.error);
  }
}

LeaseResult FromProto(const v1::CompleteLeaseRequest& proto) {
  LeaseResult result;
  result.generation = proto.generation();
  result.lease_id = proto.lease_id();
  result.worker = EscapeForLog(proto.worker(), kMaxNameBytes);
  result.failure = EscapeForLog(proto.failure(), kMaxReasonBytes);
  result.not_at_fault = proto.not_at_fault();
  result.leaving = proto.leaving();
  result.loss_sum = proto.loss_sum();
  result.correct = proto.correct();
  result.examples = proto.examples();
  result.pull = absl::Microseconds(proto.timings().pull_us());
  result.compute = absl::Microseconds(proto.timings().compute_us());
  result.push = absl::Microseconds(proto.timings().push_us());
  return result;
}

void ToProto(const Lease& lease, v1::Lease& proto) {
  proto.set_kind(ToProto(lease.kind));
  proto.set_generation(lease.generation);
  proto.set_lease_id(lease.id);
  proto.set_step(lease.step);
  proto.set_slot(lease.slot);
  proto.set_epoch(lease.batch.epoch);
  proto.set_batch_index(lease.batch.batch_index);
  proto.set_first_example(lease.first_example);
  proto.set_example_count(lease.example_count);
  proto.set_deadline_ms(absl::ToInt64Milliseconds(lease.deadline));
  proto.set_message(lease.message);
  proto.set_checkpoint(lease.checkpoint);
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

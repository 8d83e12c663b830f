// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/lease_proto.h"

#include "common/base/text.h"

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
    case Lease::Kind::kDrained:
      return v1::Lease::DRAINED;
  }
  return v1::Lease::KIND_UNSPECIFIED;
}

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
    case v1::Lease::DRAINED:
      return Lease::Kind::kDrained;
    default:
      return Lease::Kind::kWait;
  }
}

v1::CompleteLeaseRequest::Transport ToProto(Transport transport) {
  switch (transport) {
    case Transport::kUnknown:
      return v1::CompleteLeaseRequest::TRANSPORT_UNSPECIFIED;
    case Transport::kConnection:
      return v1::CompleteLeaseRequest::TRANSPORT_CONNECTION;
    case Transport::kSharedMemory:
      return v1::CompleteLeaseRequest::TRANSPORT_SHARED_MEMORY;
    case Transport::kBoth:
      return v1::CompleteLeaseRequest::TRANSPORT_BOTH;
  }
  return v1::CompleteLeaseRequest::TRANSPORT_UNSPECIFIED;
}

Transport FromProto(v1::CompleteLeaseRequest::Transport transport) {
  switch (transport) {
    case v1::CompleteLeaseRequest::TRANSPORT_CONNECTION:
      return Transport::kConnection;
    case v1::CompleteLeaseRequest::TRANSPORT_SHARED_MEMORY:
      return Transport::kSharedMemory;
    case v1::CompleteLeaseRequest::TRANSPORT_BOTH:
      return Transport::kBoth;
    default:
      return Transport::kUnknown;
  }
}

}  // namespace

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

WorkerIdentity FromProto(const v1::AcquireLeaseRequest& proto) {
  return {proto.worker(), proto.arithmetic(), proto.data()};
}

LeaseResult FromProto(const v1::CompleteLeaseRequest& proto) {
  LeaseResult result;
  result.generation = proto.generation();
  result.lease_id = proto.lease_id();
  result.worker = EscapeForLog(proto.worker(), kMaxNameBytes);
  result.failure = EscapeForLog(proto.failure(), kMaxReasonBytes);
  result.caused_by_environment = proto.caused_by_environment();
  result.leaving = proto.leaving();
  result.loss_sum = proto.loss_sum();
  result.correct = proto.correct();
  result.examples = proto.examples();
  result.pull = absl::Microseconds(proto.timings().pull_us());
  result.compute = absl::Microseconds(proto.timings().compute_us());
  result.push = absl::Microseconds(proto.timings().push_us());
  for (const v1::MetricSum& metric : proto.metrics()) {
    result.metrics.push_back({metric.name(), metric.sum(), metric.count()});
  }
  result.transport = FromProto(proto.transport());
  return result;
}

void ToProto(const LeaseResult& result, v1::CompleteLeaseRequest& proto) {
  proto.set_generation(result.generation);
  proto.set_lease_id(result.lease_id);
  proto.set_worker(result.worker);
  proto.set_failure(result.failure);
  proto.set_caused_by_environment(result.caused_by_environment);
  proto.set_leaving(result.leaving);
  proto.set_loss_sum(result.loss_sum);
  proto.set_correct(result.correct);
  proto.set_examples(result.examples);
  proto.mutable_timings()->set_pull_us(absl::ToInt64Microseconds(result.pull));
  proto.mutable_timings()->set_compute_us(absl::ToInt64Microseconds(result.compute));
  proto.mutable_timings()->set_push_us(absl::ToInt64Microseconds(result.push));
  for (const MetricSum& metric : result.metrics) {
    v1::MetricSum& added = *proto.add_metrics();
    added.set_name(metric.name);
    added.set_sum(metric.sum);
    added.set_count(metric.count);
  }
  proto.set_transport(ToProto(result.transport));
}

}  // namespace percentdelta

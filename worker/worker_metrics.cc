// SPDX-License-Identifier: Apache-2.0

#include "worker/worker_metrics.h"

#include "common/metrics/metric_list.h"

namespace percentdelta {

void WorkerMetrics::AddLease(const Lease& lease, const absl::Status& status,
                             const LeaseResult& result) {
  const bool train = lease.kind == Lease::Kind::kTrain;
  Counts& counts = train ? trained_ : evaluated_;
  step_ = lease.step;
  if (!status.ok()) {
    ++counts.dropped;
    return;
  }
  ++counts.done;
  if (!train) return;
  examples_ += result.examples;
  pull_.Add(result.pull);
  compute_.Add(result.compute);
  push_.Add(result.push);
}

std::vector<prometheus::MetricFamily> WorkerMetrics::Collect() const {
  MetricList list({{"worker", worker_}});
  list.Gauge("worker_generation", "Generation of the cluster that this worker has joined.",
             static_cast<double>(generation_));
  list.Gauge("worker_step", "Step of this worker's newest lease.", static_cast<double>(step_));
  list.Counter("worker_examples_total", "Training examples of this worker's completed leases.",
               static_cast<double>(examples_));
  const struct {
    const char* kind;
    const Counts& counts;
  } kinds[] = {{"train", trained_}, {"evaluate", evaluated_}};
  for (const auto& [kind, counts] : kinds) {
    const char* const help = "Leases whose work this worker has done, or dropped.";
    list.Counter("worker_leases_total", help, static_cast<double>(counts.done),
                 {{"kind", kind}, {"result", "done"}});
    list.Counter("worker_leases_total", help, static_cast<double>(counts.dropped),
                 {{"kind", kind}, {"result", "dropped"}});
  }
  const char* const help =
      "Parts of the time of this worker's training leases: waiting for weights (pull), computing, "
      "waiting until the shards have the gradient (push).";
  list.Histogram("worker_lease_seconds", help, pull_.counts(), {{"part", "pull"}});
  list.Histogram("worker_lease_seconds", help, compute_.counts(), {{"part", "compute"}});
  list.Histogram("worker_lease_seconds", help, push_.counts(), {{"part", "push"}});
  return list.Take();
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// What a worker has done since it started.

#ifndef PERCENTDELTA_WORKER_WORKER_METRICS_H_
#define PERCENTDELTA_WORKER_WORKER_METRICS_H_

#include <prometheus/collectable.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/base/duration_histogram.h"
#include "common/cluster/lease.h"

namespace percentdelta {

// Thread-safe.
class WorkerMetrics : public prometheus::Collectable {
 public:
  explicit WorkerMetrics(std::string worker) : worker_(std::move(worker)) {}

  // The worker has joined a generation.
  void SetGeneration(uint64_t generation) { generation_ = generation; }

  // The work of a lease has ended; with kOk, `result` says how long its parts took.
  void AddLease(const Lease& lease, const absl::Status& status, const LeaseResult& result);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  struct Counts {
    std::atomic<int64_t> done{0};
    std::atomic<int64_t> dropped{0};
  };

  const std::string worker_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int64_t> step_{0};
  std::atomic<int64_t> examples_{0};
  Counts trained_;
  Counts evaluated_;
  DurationHistogram pull_;
  DurationHistogram compute_;
  DurationHistogram push_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_WORKER_METRICS_H_

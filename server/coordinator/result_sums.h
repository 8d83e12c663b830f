// SPDX-License-Identifier: Apache-2.0

// Adds up the results of a step's slots, or of an evaluation's parts. Results have to be added in
// the order of slots or examples: then the means are the same bits whichever worker was first.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_RESULT_SUMS_H_
#define PERCENTDELTA_SERVER_COORDINATOR_RESULT_SUMS_H_

#include <cstdint>
#include <vector>

#include "common/cluster/lease.h"
#include "common/cluster/metrics.h"
#include "common/cluster/progress.h"

namespace percentdelta {

// Not thread-safe.
class ResultSums {
 public:
  // Metrics beyond the first kMaxMetrics names are left out.
  void Add(const LeaseResult& result);

  // The means at `step`; the seconds are left 0. That of a metric is over the results that have it.
  ProgressPoint Means(int64_t step) const;

 private:
  double loss_sum_ = 0;
  int64_t correct_ = 0;
  int64_t examples_ = 0;
  std::vector<MetricSum> metrics_;  // in the order in which they came
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_RESULT_SUMS_H_

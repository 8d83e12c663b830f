// SPDX-License-Identifier: Apache-2.0

// Metrics of the workers' own, besides loss and accuracy: named sums, as a worker reports them for
// a lease, and means, as curves have them.

#ifndef PERCENTDELTA_COMMON_CLUSTER_METRICS_H_
#define PERCENTDELTA_COMMON_CLUSTER_METRICS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace percentdelta {

// Of a lease, and of a point of a curve.
inline constexpr size_t kMaxMetrics = 32;

inline constexpr size_t kMaxMetricNameBytes = 64;

// `sum` over `count` of whatever is counted.
struct MetricSum {
  std::string name;  // a key (common/base/text.h)
  double sum = 0;    // finite
  double count = 0;  // finite, > 0
};

// The mean of a metric.
struct Metric {
  std::string name;
  double value = 0;
};

// Returns kInvalidArgument, with what was expected and what came, if there are more than
// kMaxMetrics, a name occurs twice, or one is not as described above.
absl::Status CheckMetrics(const std::vector<MetricSum>& metrics);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_METRICS_H_

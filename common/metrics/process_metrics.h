// SPDX-License-Identifier: Apache-2.0

// What every Prometheus client library reports of its process, under the usual names.

#ifndef PERCENTDELTA_COMMON_METRICS_PROCESS_METRICS_H_
#define PERCENTDELTA_COMMON_METRICS_PROCESS_METRICS_H_

#include <prometheus/collectable.h>

#include <vector>

namespace percentdelta {

// Thread-safe.
class ProcessMetrics : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_METRICS_PROCESS_METRICS_H_

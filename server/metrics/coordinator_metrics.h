// SPDX-License-Identifier: Apache-2.0

// The metrics of a training, as its coordinator knows them.

#ifndef PERCENTDELTA_SERVER_METRICS_COORDINATOR_METRICS_H_
#define PERCENTDELTA_SERVER_METRICS_COORDINATOR_METRICS_H_

#include <prometheus/collectable.h>

#include <vector>

#include "server/coordinator/coordinator.h"

namespace percentdelta {

// Thread-safe. Takes the coordinator's lock for some microseconds at each scrape.
class CoordinatorMetrics : public prometheus::Collectable {
 public:
  // `coordinator` must outlive it.
  explicit CoordinatorMetrics(Coordinator& coordinator) : coordinator_(coordinator) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  Coordinator& coordinator_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_METRICS_COORDINATOR_METRICS_H_

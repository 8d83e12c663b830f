// SPDX-License-Identifier: Apache-2.0

#include "server/shard/describe_update.h"

#include <cmath>
#include <string>

namespace percentdelta {

TensorStatistics DescribeUpdate(const TensorSpec& tensor, const NormSums& norms,
                                const TensorContext& context) {
  TensorStatistics statistics;
  statistics.step = context.step;
  statistics.tensor = tensor.name;
  statistics.layer = std::string(tensor.layer());
  statistics.entries = context.entries;
  statistics.gradient_l1 = norms.gradient_l1;
  statistics.gradient_l2 = std::sqrt(norms.gradient_l2_squared);
  statistics.weight_l1 = norms.weight_l1;
  statistics.weight_l2 = std::sqrt(norms.weight_l2_squared);
  statistics.rate = context.rate;
  if (norms.weight_l1 > 0) {
    statistics.sgd_relative_delta = statistics.rate * norms.gradient_l1 / norms.weight_l1;
  }
  return statistics;
}

void SetMultiplier(TensorStatistics& statistics, double multiplier) {
  statistics.multiplier = multiplier;
  statistics.relative_delta = multiplier * statistics.sgd_relative_delta;
}

void SetDelta(TensorStatistics& statistics, double delta_l1) {
  const double sgd_l1 = statistics.rate * statistics.gradient_l1;
  statistics.multiplier = sgd_l1 > 0 ? delta_l1 / sgd_l1 : 0;
  statistics.relative_delta = statistics.weight_l1 > 0 ? delta_l1 / statistics.weight_l1 : 0;
}

}  // namespace percentdelta

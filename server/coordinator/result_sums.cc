// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/result_sums.h"

#include <algorithm>

namespace percentdelta {

void ResultSums::Add(const LeaseResult& result) {
  loss_sum_ += result.loss_sum;
  correct_ += result.correct;
  examples_ += result.examples;
  for (const MetricSum& metric : result.metrics) {
    const auto known = std::find_if(metrics_.begin(), metrics_.end(), [&](const MetricSum& each) {
      return each.name == metric.name;
    });
    if (known != metrics_.end()) {
      known->sum += metric.sum;
      known->count += metric.count;
    } else if (metrics_.size() < kMaxMetrics) {
      metrics_.push_back(metric);
    }
  }
}

ProgressPoint ResultSums::Means(int64_t step) const {
  const auto count = static_cast<double>(examples_);
  ProgressPoint point{step, loss_sum_ / count, static_cast<double>(correct_) / count, 0};
  for (const MetricSum& metric : metrics_) {
    point.metrics.push_back({metric.name, metric.sum / metric.count});
  }
  return point;
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/metrics/metric_list.h"

#include <cstdint>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace percentdelta {

prometheus::ClientMetric& MetricList::Add(absl::string_view name, absl::string_view help,
                                          prometheus::MetricType type, const Labels& labels) {
  const std::string full =
      absl::StartsWith(name, "process_") ? std::string(name) : absl::StrCat("percentdelta_", name);
  const auto [found, is_new] = index_.try_emplace(full, families_.size());
  if (is_new) families_.push_back({full, std::string(help), type, {}});
  prometheus::ClientMetric& metric = families_[found->second].metric.emplace_back();
  metric.label.reserve(common_.size() + labels.size());
  for (const auto& [key, value] : common_) metric.label.push_back({key, value});
  for (const auto& [key, value] : labels) metric.label.push_back({key, value});
  return metric;
}

void MetricList::Gauge(absl::string_view name, absl::string_view help, double value,
                       const Labels& labels) {
  Add(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void MetricList::Counter(absl::string_view name, absl::string_view help, double value,
                         const Labels& labels) {
  Add(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void MetricList::Histogram(absl::string_view name, absl::string_view help,
                           const DurationHistogram::Counts& counts, const Labels& labels) {
  prometheus::ClientMetric::Histogram& histogram =
      Add(name, help, prometheus::MetricType::Histogram, labels).histogram;
  histogram.bucket.reserve(counts.buckets.size());
  uint64_t total = 0;
  for (size_t i = 0; i < counts.buckets.size(); ++i) {
    total += counts.buckets[i];
    const double bound = i < DurationHistogram::kBounds.size()
                             ? DurationHistogram::kBounds[i]
                             : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({total, bound});
  }
  histogram.sample_count = total;
  histogram.sample_sum = counts.sum_seconds;
}

}  // namespace percentdelta

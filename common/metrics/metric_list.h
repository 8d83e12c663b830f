// SPDX-License-Identifier: Apache-2.0

// Builds what a scrape returns.

#ifndef PERCENTDELTA_COMMON_METRICS_METRIC_LIST_H_
#define PERCENTDELTA_COMMON_METRICS_METRIC_LIST_H_

#include <prometheus/metric_family.h>

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/base/duration_histogram.h"

namespace percentdelta {

// Not thread-safe. Names are without the prefix "percentdelta_", unless they begin with "process_".
// Samples of one name become one family, with the first one's help.
class MetricList {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // `common`: labels of every sample.
  explicit MetricList(Labels common = {}) : common_(std::move(common)) {}

  void Gauge(absl::string_view name, absl::string_view help, double value,
             const Labels& labels = {});
  void Counter(absl::string_view name, absl::string_view help, double value,
               const Labels& labels = {});
  void Histogram(absl::string_view name, absl::string_view help,
                 const DurationHistogram::Counts& counts, const Labels& labels = {});

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  prometheus::ClientMetric& Add(absl::string_view name, absl::string_view help,
                                prometheus::MetricType type, const Labels& labels);

  const Labels common_;
  std::vector<prometheus::MetricFamily> families_;
  std::map<std::string, size_t> index_;  // of families_, by name
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_METRICS_METRIC_LIST_H_

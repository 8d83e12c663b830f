// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/metrics.h"

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

template <typename T>
absl::Status Invalid(absl::string_view what, absl::string_view expected, const T& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("metrics: ", what, "expected ", expected, ", got ", got));
}

}  // namespace

absl::Status CheckMetrics(const std::vector<MetricSum>& metrics) {
  if (metrics.size() > kMaxMetrics) {
    return Invalid("", absl::StrCat("at most ", kMaxMetrics), metrics.size());
  }
  std::set<absl::string_view> names;
  for (const MetricSum& metric : metrics) {
    const std::string& name = metric.name;
    if (name.empty() || name.size() > kMaxMetricNameBytes || !IsKey(name)) {
      return Invalid("name: ",
                     absl::StrCat("1..", kMaxMetricNameBytes,
                                  " printable ASCII characters without blanks, quotes,"
                                  " backslashes"),
                     QuoteForLog(name));
    }
    if (!names.insert(name).second) {
      return Invalid("", "different names", absl::StrCat(name, " twice"));
    }
    if (!std::isfinite(metric.sum)) {
      return Invalid(absl::StrCat(name, ": sum: "), "a finite number", metric.sum);
    }
    if (!std::isfinite(metric.count) || metric.count <= 0) {
      return Invalid(absl::StrCat(name, ": count: "), "a finite number above 0", metric.count);
    }
  }
  return absl::OkStatus();
}

}  // namespace percentdelta

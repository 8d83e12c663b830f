// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<MetricSum> Several(size_t count) {
  std::vector<MetricSum> metrics;
  for (size_t i = 0; i < count; ++i) metrics.push_back({absl::StrCat("m", i), 0.0, 1});
  return metrics;
}

TEST(CheckMetricsTest, TakesWhatIsInOrder) {
  EXPECT_OK(CheckMetrics({}));
  EXPECT_OK(CheckMetrics(Several(kMaxMetrics)));
  EXPECT_OK(CheckMetrics(
      {{std::string(kMaxMetricNameBytes, 'x'), -1e308, 1e-308}, {"top-5/accuracy,%", 0, 1e308}}));
}

TEST(CheckMetricsTest, RefusesTheRest) {
  const std::string name =
      "metrics: name: expected 1..64 printable ASCII characters without blanks, quotes, "
      "backslashes, got ";
  const std::string sum = "metrics: a: sum: expected a finite number, got ";
  const std::string count = "metrics: a: count: expected a finite number above 0, got ";
  const std::vector<std::pair<std::vector<MetricSum>, std::string>> cases = {
      {Several(kMaxMetrics + 1), "metrics: expected at most 32, got 33"},
      {{{"", 1, 1}}, name + "\"\""},
      {{{std::string(65, 'x'), 1, 1}}, absl::StrCat(name, "\"", std::string(65, 'x'), "\"")},
      {{{"a b", 1, 1}}, name + "\"a b\""},
      {{{"a\n", 1, 1}}, name + "\"a\\n\""},
      {{{"\xff", 1, 1}}, name + "\"\\xff\""},
      {{{"a", 1, 1}, {"b", 1, 1}, {"a", 1, 1}}, "metrics: expected different names, got a twice"},
      {{{"a", kNan, 1}}, sum + "nan"},
      {{{"a", -kInfinity, 1}}, sum + "-inf"},
      {{{"a", 1, 0}}, count + "0"},
      {{{"a", 1, -2.5}}, count + "-2.5"},
      {{{"a", 1, kInfinity}}, count + "inf"},
      {{{"a", 1, kNan}}, count + "nan"}};
  for (const auto& [metrics, message] : cases) {
    const absl::Status status = CheckMetrics(metrics);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(status.message(), message);
  }
}

}  // namespace
}  // namespace percentdelta

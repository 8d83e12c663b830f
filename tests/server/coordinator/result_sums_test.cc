// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/result_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

using ::testing::Field;
using ::testing::SizeIs;

LeaseResult ResultWith(std::vector<MetricSum> metrics) {
  LeaseResult result;
  result.loss_sum = 3;
  result.correct = 1;
  result.examples = 4;
  result.metrics = std::move(metrics);
  return result;
}

ProgressPoint MeansOf(const std::vector<LeaseResult>& results) {
  ResultSums sums;
  for (const LeaseResult& result : results) sums.Add(result);
  return sums.Means(5);
}

TEST(ResultSumsTest, MeansOfAllExamples) {
  const ProgressPoint point = MeansOf({ResultWith({}), ResultWith({})});
  EXPECT_EQ(point.step, 5);
  EXPECT_EQ(point.loss, 0.75);
  EXPECT_EQ(point.accuracy, 0.25);
  EXPECT_EQ(point.seconds, 0);
  EXPECT_THAT(point.metrics, SizeIs(0));
}

TEST(ResultSumsTest, MetricsAreDividedByTheirCountsInTheOrderOfTheirFirstResult) {
  const ProgressPoint point = MeansOf({ResultWith({{"b", 6, 2}, {"a", 1, 4}}),
                                       ResultWith({{"a", 2, 4}, {"c", -1, 0.5}, {"b", 0, 1}})});
  ASSERT_THAT(point.metrics, SizeIs(3));
  EXPECT_EQ(point.metrics[0].name, "b");
  EXPECT_EQ(point.metrics[0].value, 2);
  EXPECT_EQ(point.metrics[1].name, "a");
  EXPECT_EQ(point.metrics[1].value, 0.375);
  EXPECT_EQ(point.metrics[2].name, "c");  // of one result: the mean over that
  EXPECT_EQ(point.metrics[2].value, -2);
}

// The order of addition is that of the results, not of their size: these sums differ in it.
TEST(ResultSumsTest, SumsAreAddedInOrder) {
  const auto sum = [](const std::vector<double>& terms) {
    std::vector<LeaseResult> results;
    results.reserve(terms.size());
    for (const double term : terms) results.push_back(ResultWith({{"a", term, 1}}));
    return MeansOf(results).metrics[0].value * 3;
  };
  EXPECT_EQ(sum({1e16, -1e16, 3}), 3);
  EXPECT_EQ(sum({3, 1e16, -1e16}), 4);
}

TEST(ResultSumsTest, KeepsTheFirstNames) {
  std::vector<LeaseResult> results;
  results.reserve(40);
  for (int i = 0; i < 40; ++i) {
    results.push_back(ResultWith({{absl::StrCat("m", i), 1, 1}, {"m0", 1, 1}}));
  }
  results[0].metrics.pop_back();
  const ProgressPoint point = MeansOf(results);
  ASSERT_THAT(point.metrics, SizeIs(kMaxMetrics));
  EXPECT_EQ(point.metrics[0].value, 1);
  EXPECT_THAT(point.metrics.back(), Field(&Metric::name, "m31"));
}

}  // namespace
}  // namespace percentdelta

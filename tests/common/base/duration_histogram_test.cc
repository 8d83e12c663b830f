// SPDX-License-Identifier: Apache-2.0

#include "common/base/duration_histogram.h"

#include "gtest/gtest.h"

namespace percentdelta {
namespace {

TEST(DurationHistogramTest, CountsByUpperBound) {
  DurationHistogram histogram;
  for (const double seconds : {0.0, .0001, .0002, 60.0, 61.0}) {
    histogram.Add(absl::Seconds(seconds));
  }
  const DurationHistogram::Counts counts = histogram.counts();
  EXPECT_EQ(counts.buckets[0], 2);  // a bound is in its bucket
  EXPECT_EQ(counts.buckets[1], 1);
  EXPECT_EQ(counts.buckets[DurationHistogram::kBounds.size() - 1], 1);
  EXPECT_EQ(counts.buckets.back(), 1);
  EXPECT_NEAR(counts.sum_seconds, 121.0003, 1e-9);
}

TEST(DurationHistogramTest, BoundsAscend) {
  for (size_t i = 1; i < DurationHistogram::kBounds.size(); ++i) {
    EXPECT_LT(DurationHistogram::kBounds[i - 1], DurationHistogram::kBounds[i]);
  }
}

}  // namespace
}  // namespace percentdelta

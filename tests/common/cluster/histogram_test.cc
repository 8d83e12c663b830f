// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/histogram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "common/cluster/histogram_proto.h"
#include "tests/histogram_of.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(HistogramTest, ABucketBeginsAtItsLowerLimit) {
  EXPECT_EQ(LowerLimit(1), std::ldexp(1, -40));
  EXPECT_EQ(LowerLimit(kMaxBucket + 1), std::ldexp(1, 128));
  for (int bucket = 1; bucket <= kMaxBucket; ++bucket) {
    const auto limit = static_cast<float>(LowerLimit(bucket));
    const float below = std::nextafter(limit, 0.0F);
    EXPECT_EQ(static_cast<double>(limit), LowerLimit(bucket));
    EXPECT_EQ(BucketOf(limit), bucket);
    EXPECT_EQ(BucketOf(-limit), -bucket);
    EXPECT_EQ(BucketOf(below), bucket - 1);
    EXPECT_EQ(BucketOf(-below), 1 - bucket);
    EXPECT_LE(LowerLimit(bucket + 1) / LowerLimit(bucket), 1.125);
  }
}

TEST(HistogramTest, EveryFloatHasABucket) {
  for (const float value : {0.0F, -0.0F, std::numeric_limits<float>::denorm_min()}) {
    EXPECT_EQ(BucketOf(value), 0);
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(BucketOf(std::numeric_limits<float>::max()), kMaxBucket);
  EXPECT_EQ(BucketOf(kInfinity), kMaxBucket);
  EXPECT_EQ(BucketOf(-kInfinity), -kMaxBucket);
  EXPECT_EQ(BucketOf(std::numeric_limits<float>::quiet_NaN()), kMaxBucket);
}

TEST(HistogramTest, PartsAddUpToTheWhole) {
  const Histogram whole = HistogramOf({1, 1.0625, 1.125, -3, 0, 1e-20F});
  EXPECT_THAT(whole.counts, ElementsAre(Pair(BucketOf(-3), 1), Pair(0, 2), Pair(BucketOf(1), 2),
                                        Pair(BucketOf(1.125), 1)));
  EXPECT_EQ(whole.min, -3);
  EXPECT_EQ(whole.max, 1.125);
  EXPECT_EQ(whole.entries(), 6);
  Histogram sum = HistogramOf({0, 1.125, 1e-20F});
  sum.Merge(HistogramOf({1, -3, 1.0625}));
  EXPECT_EQ(sum.counts, whole.counts);
  EXPECT_EQ(sum.min, whole.min);
  EXPECT_EQ(sum.max, whole.max);
}

v1::SliceHistograms Message() {
  v1::SliceHistograms proto;
  ToProto({3, "a/b", 16384, HistogramOf({-2, -1e-3F, 0, 5, 5}), HistogramOf({0})}, proto);
  return proto;
}

TEST(HistogramProtoTest, GoesThroughAMessage) {
  ASSERT_OK_AND_ASSIGN(const SliceHistograms read, FromProto(Message()));
  EXPECT_EQ(read.step, 3);
  EXPECT_EQ(read.tensor, "a/b");
  EXPECT_EQ(read.first_entry, 16384);
  EXPECT_EQ(read.weights.counts, HistogramOf({-2, -1e-3F, 0, 5, 5}).counts);
  EXPECT_EQ(read.weights.min, -2);
  EXPECT_EQ(read.weights.max, 5);
  EXPECT_EQ(read.gradient.counts, HistogramOf({0}).counts);
}

TEST(HistogramProtoTest, RefusesWhatIsNoHistogram) {
  const struct {
    std::string expected;
    std::function<void(v1::Histogram& weights)> change;
  } rows[] = {
      {"as many counts", [](auto& weights) { weights.Clear(); }},
      {"as many counts", [](auto& weights) { weights.add_counts(1); }},
      {"ascending buckets", [](auto& weights) { weights.set_bucket_distances(1, 0); }},
      {"ascending buckets", [](auto& weights) { weights.set_bucket_distances(2, 0xffffffff); }},
      {"counts above 0", [](auto& weights) { weights.set_counts(1, 0); }},
      {"counts above 0", [](auto& weights) { weights.set_counts(1, ~uint64_t{0}); }},
      {"counts above 0",
       [](auto& weights) {
         for (int i = 0; i < weights.counts_size(); ++i) weights.set_counts(i, uint64_t{1} << 62);
       }},
      {"minimum", [](auto& weights) { weights.set_min(-3); }},
      {"minimum", [](auto& weights) { weights.set_max(4); }},
      {"minimum", [](auto& weights) { weights.set_max(std::numeric_limits<float>::quiet_NaN()); }},
  };
  for (const auto& row : rows) {
    v1::SliceHistograms proto = Message();
    row.change(*proto.mutable_weights());
    EXPECT_THAT(FromProto(proto),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(row.expected)))
        << proto.ShortDebugString();
  }
}

}  // namespace
}  // namespace percentdelta

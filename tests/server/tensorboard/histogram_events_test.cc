// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/histogram_events.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/histogram_of.h"

namespace percentdelta {
namespace {

using testing::ElementsAre;

// A bucket of TensorBoard begins at the limit of the one before it.
TEST(HistogramEventTest, GapsAreBucketsWithoutEntries) {
  const StepHistograms step{
      7, {{"a/b", HistogramOf({-1.5, -1, -1, 0, 1, 1.125, 4}), HistogramOf({0, 0})}}};
  const tensorboard::Event event = HistogramEvent(step, absl::FromUnixSeconds(10));
  EXPECT_EQ(event.step(), 7);
  ASSERT_EQ(event.summary().value_size(), 2);
  EXPECT_EQ(event.summary().value(0).tag(), "weights/a/b");
  EXPECT_EQ(event.summary().value(1).tag(), "gradients/a/b");
  const tensorboard::HistogramProto& weights = event.summary().value(0).histo();
  const double tiny = LowerLimit(1);
  EXPECT_THAT(weights.bucket_limit(),
              ElementsAre(-1.5, -1.125, -1, -tiny, tiny, 1, 1.125, 1.25, 4, 4.5));
  EXPECT_THAT(weights.bucket(), ElementsAre(1, 0, 2, 0, 1, 0, 1, 1, 0, 1));
  EXPECT_EQ(weights.min(), -1.5);
  EXPECT_EQ(weights.max(), 4);
  EXPECT_EQ(weights.num(), 7);
  const tensorboard::HistogramProto& gradient = event.summary().value(1).histo();
  EXPECT_THAT(gradient.bucket_limit(), ElementsAre(tiny));
  EXPECT_THAT(gradient.bucket(), ElementsAre(2));
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/progress_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/cluster/lease_proto.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;

TEST(ProgressProtoTest, MetricsAndArithmeticThereAndBack) {
  Progress progress;
  progress.arithmetic = "a";
  progress.any_arithmetic = true;
  progress.other_arithmetic = {"b", "c"};
  progress.training = {{3, 0.5, 0.25, 2, {{"x", 1.5}, {"y", -2}}}, {4, 0.25, 0.5, 3}};
  progress.evaluations = {{2, 0.75, 0.125, 1, {{"z", 0.1}}}};
  v1::GetProgressResponse proto;
  ToProto(progress, proto);
  const Progress read = FromProto(proto);
  EXPECT_EQ(read.arithmetic, "a");
  EXPECT_TRUE(read.any_arithmetic);
  EXPECT_THAT(read.other_arithmetic, ElementsAre("b", "c"));
  ASSERT_EQ(read.training.size(), 2U);
  ASSERT_EQ(read.training[0].metrics.size(), 2U);
  EXPECT_EQ(read.training[0].metrics[1].name, "y");
  EXPECT_EQ(read.training[0].metrics[1].value, -2);
  EXPECT_TRUE(read.training[1].metrics.empty());
  EXPECT_EQ(read.evaluations[0].metrics[0].name, "z");
  EXPECT_EQ(read.evaluations[0].metrics[0].value, 0.1);
}

TEST(LeaseProtoTest, MetricsThereAndBack) {
  LeaseResult result;
  result.metrics = {{"x", 1.5, 3}, {"y", -0.1, 0.5}};
  v1::CompleteLeaseRequest proto;
  ToProto(result, proto);
  const LeaseResult read = FromProto(proto);
  ASSERT_EQ(read.metrics.size(), 2U);
  EXPECT_EQ(read.metrics[1].name, "y");
  EXPECT_EQ(read.metrics[1].sum, -0.1);
  EXPECT_EQ(read.metrics[1].count, 0.5);
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// What a coordinator counts for metrics.

#include <limits>

#include "gtest/gtest.h"
#include "tests/server/coordinator/coordinator_fixture.h"

namespace percentdelta {
namespace {

using CoordinatorMetricsTest = CoordinatorTest;

TEST_F(CoordinatorMetricsTest, CountsLeasesThroughGenerations) {
  EXPECT_EQ(coordinator_.GetMetrics().missing_shards, 2);
  EXPECT_FALSE(coordinator_.GetMetrics().training.has_value());
  Open();
  Acquire(NewAnswers());
  Acquire(NewAnswers());
  TrainingMetrics metrics = coordinator_.GetMetrics();
  EXPECT_EQ(metrics.missing_shards, 0);
  EXPECT_EQ(metrics.generations, 1);
  EXPECT_EQ(metrics.leases_given, 1);
  EXPECT_EQ(metrics.waiting_calls, 1);

  LeaseResult result = ResultOf(*answers_.front().front());
  result.pull = absl::Seconds(1);
  result.compute = absl::Seconds(2);
  result.push = absl::Seconds(4);
  Complete(result);
  metrics = coordinator_.GetMetrics();
  EXPECT_EQ(metrics.leases_given, 2);
  EXPECT_EQ(metrics.examples, 4);
  EXPECT_EQ(metrics.pull.sum_seconds, 1);
  EXPECT_EQ(metrics.compute.sum_seconds, 2);
  EXPECT_EQ(metrics.push.sum_seconds, 4);
  ASSERT_TRUE(metrics.training.has_value());
  EXPECT_EQ(metrics.training->step, 0);
  EXPECT_EQ(metrics.training->loss, 1.5);
  EXPECT_TRUE(metrics.progress.training.empty());

  Open(7, 200);  // a generation for each new process
  metrics = coordinator_.GetMetrics();
  EXPECT_EQ(metrics.generations, 3);
  EXPECT_EQ(metrics.examples, 4);
  EXPECT_GE(metrics.leases_given, 2);
  EXPECT_FALSE(metrics.training.has_value());
}

TEST_F(CoordinatorMetricsTest, CountsLossesThatAreNotFinite) {
  Open();
  for (const double loss :
       {1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    LeaseResult result = ResultOf(AcquireNow());
    result.failure = "why";
    result.loss_sum = loss;
    result.leaving = true;
    Report(result);
  }
  EXPECT_EQ(coordinator_.GetMetrics().not_finite, 2);
  EXPECT_EQ(coordinator_.GetMetrics().progress.failed_leases, 3);
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "worker/worker_metrics.h"

#include <prometheus/text_serializer.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(WorkerMetricsTest, CountsLeasesAndTheirParts) {
  WorkerMetrics metrics("w");
  metrics.SetGeneration(3);
  Lease lease;
  lease.kind = Lease::Kind::kTrain;
  lease.step = 7;
  LeaseResult result;
  result.examples = 20;
  result.compute = absl::Milliseconds(30);
  metrics.AddLease(lease, absl::OkStatus(), result);
  metrics.AddLease(lease, absl::UnavailableError("gone"), result);
  lease.kind = Lease::Kind::kEvaluate;
  metrics.AddLease(lease, absl::OkStatus(), result);
  const std::string text = prometheus::TextSerializer().Serialize(metrics.Collect());
  EXPECT_THAT(text, AllOf(HasSubstr("percentdelta_worker_generation{worker=\"w\"} 3\n"),
                          HasSubstr("percentdelta_worker_step{worker=\"w\"} 7\n"),
                          HasSubstr("percentdelta_worker_examples_total{worker=\"w\"} 20\n"),
                          HasSubstr("{worker=\"w\",kind=\"train\",result=\"done\"} 1\n"),
                          HasSubstr("{worker=\"w\",kind=\"train\",result=\"dropped\"} 1\n"),
                          HasSubstr("{worker=\"w\",kind=\"evaluate\",result=\"done\"} 1\n"),
                          HasSubstr("_seconds_sum{worker=\"w\",part=\"compute\"} 0.03\n"),
                          HasSubstr("{worker=\"w\",part=\"compute\",le=\"0.025\"} 0\n"),
                          HasSubstr("{worker=\"w\",part=\"compute\",le=\"0.05\"} 1\n")));
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// Compares the cluster's weights with those of an independent double-precision implementation of
// the rule (tests/server/reference.h), over 50 steps of random gradients.

#include <algorithm>
#include <cmath>
#include <iostream>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/local/small_cluster.h"
#include "tests/server/reference.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

constexpr int kSteps = 50;
constexpr double kTolerance = 1e-5;
constexpr uint64_t kSeed = 20170814;

struct Case {
  std::string name;
  int shards;
  MomentumSpec momentum;
  ScheduleSpec schedule;
};

// Prints the case in failures.
void PrintTo(const Case& test_case, std::ostream* out) { *out << test_case.name; }

// The job's tensors cover the special cases: split over shards and not, a single entry, zero at the
// start. The gradients add zero entries, and tensors that are entirely zero in some steps.
Job CaseJob(const Case& test_case) {
  Job job = MadeUpJob(kSteps);
  job.model.tensors.push_back({"c/zeros", {20, 30}, ConstantInitializer{0}});
  job.optimizer.learning_rate = 0.03;
  job.optimizer.rule = PercentDeltaRule{1e-3};
  job.momentum = test_case.momentum;
  job.schedule = test_case.schedule;
  return job;
}

std::vector<std::vector<float>> Gradient(const ModelSpec& model, int64_t step, int32_t slot) {
  std::vector<std::vector<float>> gradient = RandomGradient(model, kSeed + 1000 * step + slot);
  for (size_t tensor = 0; tensor < gradient.size(); ++tensor) {
    for (size_t i = step % 7; i < gradient[tensor].size(); i += 7) gradient[tensor][i] = 0;
    if ((step + static_cast<int64_t>(tensor)) % 11 == 3) {
      std::fill(gradient[tensor].begin(), gradient[tensor].end(), 0.0F);
    }
  }
  return gradient;
}

std::vector<double> AsDouble(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

class ExactnessTest : public testing::TestWithParam<Case> {};

TEST_P(ExactnessTest, AgreesWithTheReference) {
  std::cout << "seed " << kSeed << "\n";
  const Job job = CaseJob(GetParam());
  ServersOnly servers(job, GetParam().shards);

  ReferenceRule rule;
  rule.eta = job.optimizer.learning_rate;
  rule.rule = job.optimizer.rule;
  if (const auto* linear = std::get_if<LinearDecay>(&job.schedule.decay)) {
    rule.slope = linear->slope;
    rule.floor = linear->floor;
  }
  rule.mu = job.momentum.coefficient;
  rule.dampening = job.momentum.dampening;
  std::vector<ReferenceTensor> reference;
  for (const std::vector<float>& values : servers.Pull(0).values) {
    reference.emplace_back(AsDouble(values));
  }

  Weights weights;
  for (int64_t step = 0; step < kSteps; ++step) {
    std::vector<std::vector<std::vector<double>>> slots(reference.size());
    for (int32_t slot = 0; slot < job.gradients_per_step; ++slot) {
      const std::vector<std::vector<float>> gradient = Gradient(job.model, step, slot);
      ASSERT_OK(servers.Push(step, slot, gradient));
      for (size_t t = 0; t < gradient.size(); ++t) slots[t].push_back(AsDouble(gradient[t]));
    }
    for (size_t t = 0; t < reference.size(); ++t) reference[t].Step(rule, step, slots[t]);
    weights = servers.Pull(step + 1);
  }

  for (size_t t = 0; t < reference.size(); ++t) {
    // The error is relative to the entry, or near zero to the tensor's mean: an entry that crosses
    // zero has no significant digits left.
    const std::vector<double>& expected = reference[t].weights();
    double mean = 0;
    for (const double value : expected) mean += std::fabs(value) / expected.size();
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double scale = std::max(std::fabs(expected[i]), mean);
      if (scale > 0) {
        worst = std::max(worst, std::fabs(weights.values[t][i] - expected[i]) / scale);
      }
    }
    EXPECT_LE(worst, kTolerance) << job.model.tensors[t].name;
    RecordProperty(absl::StrCat("tensor", t), absl::StrCat(worst));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ExactnessTest,
    testing::Values(Case{"Plain", 1, {}, {}}, Case{"Split", 3, {}, {}},
                    Case{"Momentum", 1, {0.9, 0.9}, {LinearDecay{0.01, 0.2}}},
                    Case{"SplitMomentum", 3, {0.9, 0.9}, {LinearDecay{0.01, 0.2}}},
                    Case{"SplitUndamped", 2, {0.5, 0}, {LinearDecay{0.03, 0}}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace percentdelta

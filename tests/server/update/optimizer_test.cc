// SPDX-License-Identifier: Apache-2.0

// One suite for every update rule and every stage around it, alone and together (update_cases.cc).

#include "server/update/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/isa.h"
#include "common/job/partition.h"
#include "tests/server/reference.h"
#include "tests/server/test_jobs.h"
#include "tests/server/update/update_cases.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

constexpr uint64_t kSeed = 20170814;
constexpr int64_t kSteps = 50;
constexpr double kTolerance = 1e-5;  // of what: see RelativeError

class OptimizerTest : public testing::TestWithParam<UpdateCase> {
 protected:
  std::vector<float> GradientOf(int tensor, int64_t step) const {
    return RandomGradient(job_.model, kSeed, step, 0)[tensor];
  }

  bool scales() const { return optimizer_->delta_l1() == Optimizer::DeltaL1::kOfGradient; }

  // The share of W by which the rule's own weight decay shrinks W when there is no gradient, per
  // unit of the rate; 0 without such a decay.
  double Shrinkage(const UpdatedTensor& tensor) const {
    if (const auto* lars = std::get_if<LarsRule>(&job_.optimizer.rule)) {
      return lars->weight_decay > 0 ? lars->trust_coefficient : 0;
    }
    const auto* lamb = std::get_if<LambRule>(&job_.optimizer.rule);
    if (lamb == nullptr || lamb->weight_decay == 0) return 0;
    const double norm = std::sqrt(tensor.norms.weight_l2_squared);
    if (lamb->max_weight_norm == 0 || norm <= lamb->max_weight_norm) return 1;
    return lamb->max_weight_norm / norm;
  }

  // For a gradient of zeros: `before` less that share of it, and what the stages make of that.
  void ExpectShrunk(const UpdatedTensor& tensor, const std::vector<float>& before) const {
    const double rate = tensor.context.rate;
    double share = rate * Shrinkage(tensor);
    const double take = 1 - job_.momentum.dampening;
    share *= job_.momentum.nesterov ? take * (1 + job_.momentum.coefficient) : take;
    if (job_.weight_decay) share += rate * job_.weight_decay->rate;
    for (size_t i = 0; i < before.size(); ++i) {
      ASSERT_FLOAT_EQ(tensor.weights[i], static_cast<float>(before[i] - share * before[i]));
    }
  }

  const testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("seed ", kSeed)};
  const Job job_ = GetParam().job;
  const std::unique_ptr<const Optimizer> optimizer_ = MakeOptimizer(job_.optimizer.rule);
};

// As a shard does it, to save a buffer.
TEST_P(OptimizerTest, WritesTheNextWeightsOverTheGradient) {
  for (size_t t = 0; t < job_.model.tensors.size(); ++t) {
    SCOPED_TRACE(job_.model.tensors[t].name);
    UpdatedTensor apart(job_, job_.model.tensors[t]);
    UpdatedTensor over = apart;
    std::vector<float> gradient = GradientOf(static_cast<int>(t), 0);
    apart.Reduce(job_, *optimizer_, 0, gradient);
    apart.Update(job_, *optimizer_, gradient, 0, apart.size());
    UpdateEntries(*optimizer_, job_, apart.context, gradient, over.weights,
                  StateRange(absl::MakeSpan(over.state), 0, over.size()), absl::MakeSpan(gradient));
    EXPECT_EQ(gradient, apart.next);
    EXPECT_EQ(over.state, apart.state);
  }
}

// RandomGradient brings zero entries and whole tensors of zeros in some steps; SmallJob a tensor of
// zeros and one of a single entry.
TEST_P(OptimizerTest, AgreesWithTheReference) {
  const ReferenceRule rule = ReferenceRuleOf(job_);
  for (size_t t = 0; t < job_.model.tensors.size(); ++t) {
    SCOPED_TRACE(job_.model.tensors[t].name);
    UpdatedTensor tensor(job_, job_.model.tensors[t]);
    ReferenceTensor reference(AsDoubles(tensor.weights));
    RelativeError error;
    double largest_delta = 0;
    for (int64_t step = 0; step < kSteps; ++step) {
      const std::vector<float> gradient = GradientOf(static_cast<int>(t), step);
      tensor.Step(job_, *optimizer_, step, gradient);
      reference.Step(rule, step, {AsDoubles(gradient)});
      error.Compare(reference.weights(), tensor.weights);

      EXPECT_NEAR(tensor.context.rate, reference.last_rate(), 1e-15);
      if (scales()) {
        const double multiplier = optimizer_->Multiplier(tensor.context);
        EXPECT_NEAR(multiplier, reference.last_multiplier(),
                    kTolerance * reference.last_multiplier());
        EXPECT_EQ(tensor.delta_l1, 0);
      } else if (tensor.norms.gradient_l1 > 0) {
        // Moments are rounded, too: one that crosses zero keeps its earlier absolute error.
        const double expected =
            reference.last_multiplier() * tensor.context.rate * tensor.norms.gradient_l1;
        largest_delta = std::max(largest_delta, expected);
        EXPECT_NEAR(tensor.delta_l1, expected, kTolerance * largest_delta);
      }
    }
    EXPECT_LE(error.worst(), kTolerance);
  }
}

// Of a slice, of a block, of a few entries: an entry's change does not depend on what is updated
// together with it.
TEST_P(OptimizerTest, DoesNotDependOnThePieces) {
  UpdatedTensor whole(job_, job_.model.tensors[kLarge]);
  UpdatedTensor pieces = whole;
  for (int64_t step = 0; step < 3; ++step) {
    const std::vector<float> gradient = GradientOf(kLarge, step);
    whole.Step(job_, *optimizer_, step, gradient);
    pieces.Reduce(job_, *optimizer_, step, gradient);
    int64_t piece = 0;
    for (int64_t begin = 0; begin < pieces.size(); begin += piece) {
      piece = std::min(3 * piece + 1, pieces.size() - begin);
      pieces.Update(job_, *optimizer_, gradient, begin, piece);
    }
    pieces.weights.swap(pieces.next);
    ASSERT_EQ(whole.weights, pieces.weights) << "step " << step;
    ASSERT_EQ(whole.state, pieces.state) << "step " << step;
  }
}

TEST_P(OptimizerTest, DoesNotDependOnTheInstructionSet) {
  const UpdatedTensor initial(job_, job_.model.tensors[kLarge]);
  UpdatedTensor expected = initial;
  for (int64_t step = 0; step < 3; ++step) {
    expected.Step(job_, *optimizer_, step, GradientOf(kLarge, step));
  }
  for (const Isa isa : SupportedIsas()) {
    SCOPED_TRACE(IsaName(isa));
    SetCurrentIsaForTesting(isa);
    UpdatedTensor tensor = initial;
    for (int64_t step = 0; step < 3; ++step) {
      tensor.Step(job_, *optimizer_, step, GradientOf(kLarge, step));
    }
    EXPECT_EQ(tensor.weights, expected.weights);
    EXPECT_EQ(tensor.state, expected.state);
    EXPECT_EQ(tensor.norms.ratio_l1, expected.norms.ratio_l1);
    EXPECT_EQ(tensor.norms.weight_l2_squared, expected.norms.weight_l2_squared);
    EXPECT_EQ(tensor.delta_l1, expected.delta_l1);
  }
  SetCurrentIsaForTesting(SupportedIsas().front());
}

// The same bits, and the same statistics to the bit, those of a tensor that is split among them.
TEST_P(OptimizerTest, DoesNotDependOnTheShards) {
  constexpr int64_t kFewSteps = 6;
  Gradient expected;
  std::map<std::pair<int64_t, std::string>, TensorStatistics> expected_reports;
  for (const int shards : {1, 3, 5}) {
    SCOPED_TRACE(absl::StrCat(shards, " shards"));
    ShardGroup group(job_, shards, 2);
    for (int64_t step = 0; step < kFewSteps; ++step) {
      group.Weights(step);
      ASSERT_OK(group.Push(step, 0, RandomGradient(job_.model, kSeed, step, 0)));
    }
    const Gradient weights = group.Weights(kFewSteps);
    group.Drain();
    const std::vector<TensorStatistics> reports = group.reports();
    EXPECT_EQ(reports.size(), kFewSteps * job_.model.tensors.size());
    if (shards == 1) {
      expected = weights;
      for (const TensorStatistics& report : reports) {
        expected_reports[{report.step, report.tensor}] = report;
      }
      continue;
    }
    EXPECT_EQ(weights, expected);
    for (const TensorStatistics& report : reports) {
      const TensorStatistics& other = expected_reports[{report.step, report.tensor}];
      EXPECT_EQ(report.multiplier, other.multiplier) << report.tensor << " step " << report.step;
      EXPECT_EQ(report.relative_delta, other.relative_delta);
      EXPECT_EQ(report.sgd_relative_delta, other.sgd_relative_delta);
      EXPECT_EQ(report.gradient_l1, other.gradient_l1);
    }
  }
}

// Weights and the named arrays are the whole state.
TEST_P(OptimizerTest, GoesOnFromARestoredState) {
  const std::vector<std::string> names = StateNames(job_);
  for (size_t t = 0; t < job_.model.tensors.size(); ++t) {
    UpdatedTensor tensor(job_, job_.model.tensors[t]);
    ASSERT_EQ(tensor.state.size(), names.size());
    int64_t step = 0;
    for (; step < 5; ++step) {
      tensor.Step(job_, *optimizer_, step, GradientOf(static_cast<int>(t), step));
    }
    std::map<std::string, std::vector<float>> saved;
    for (size_t i = 0; i < names.size(); ++i) saved[names[i]] = tensor.state[i];
    ASSERT_EQ(saved.size(), names.size());  // the names differ

    UpdatedTensor restored(job_, job_.model.tensors[t]);
    restored.weights = tensor.weights;
    for (size_t i = 0; i < names.size(); ++i) restored.state[i] = saved[names[i]];
    const auto fresh = MakeOptimizer(job_.optimizer.rule);
    for (; step < 10; ++step) {
      tensor.Step(job_, *optimizer_, step, GradientOf(static_cast<int>(t), step));
      restored.Step(job_, *fresh, step, GradientOf(static_cast<int>(t), step));
    }
    EXPECT_EQ(tensor.weights, restored.weights) << job_.model.tensors[t].name;
    EXPECT_EQ(tensor.state, restored.state);
  }
}

// But for the decay of the weights, of the stage or of the rule.
TEST_P(OptimizerTest, ZeroGradientAtFirstChangesNothing) {
  for (const TensorSpec& spec : job_.model.tensors) {
    UpdatedTensor tensor(job_, spec);
    std::vector<float> expected = tensor.weights;
    tensor.Step(job_, *optimizer_, 0, std::vector<float>(spec.size()));
    if (Shrinkage(tensor) > 0) {
      ExpectShrunk(tensor, expected);
      continue;
    }
    if (job_.weight_decay) {
      const double factor = tensor.context.rate * job_.weight_decay->rate;
      for (float& w : expected) w = static_cast<float>(w - factor * w);
    }
    EXPECT_EQ(tensor.weights, expected) << spec.name;
    EXPECT_EQ(tensor.context.gradient_scale, 1);
    if (scales()) {
      EXPECT_EQ(optimizer_->Multiplier(tensor.context), 0);
    }
    EXPECT_EQ(tensor.delta_l1, 0);
    for (const std::vector<float>& array : tensor.state) {
      EXPECT_EQ(array, std::vector<float>(spec.size()));
    }
  }
}

// A tensor of zeros stays finite, whatever comes, and moves by no more than the rule says.
TEST_P(OptimizerTest, ZeroTensorsMoveAsTheRuleSays) {
  UpdatedTensor tensor(job_, job_.model.tensors[kZeros]);
  ASSERT_EQ(tensor.weights, std::vector<float>(tensor.size()));
  tensor.Step(job_, *optimizer_, 1, GradientOf(kZeros, 1));
  double sum = 0;
  for (const float w : tensor.weights) sum += std::fabs(w);
  if (std::holds_alternative<LarsRule>(job_.optimizer.rule)) {
    EXPECT_EQ(sum, 0);
  } else {
    EXPECT_GT(sum, 0);
  }
  if (const auto* rule = std::get_if<PercentDeltaRule>(&job_.optimizer.rule)) {
    EXPECT_LE(sum / static_cast<double>(tensor.size()),
              1.5 * tensor.context.rate * rule->epsilon);  // half as much again: Nesterov's
  }
}

TEST_P(OptimizerTest, DeltaIsWhatTheStatisticsSay) {
  UpdatedTensor tensor(job_, job_.model.tensors[kFew]);
  const std::vector<float> gradient = {2, -4, 0, 1, 8};
  tensor.Reduce(job_, *optimizer_, 0, gradient);
  std::vector<double> delta(5);
  UpdatedTensor copy = tensor;
  optimizer_->Delta(tensor.context, gradient, tensor.weights,
                    StateRange(absl::MakeSpan(tensor.state), 0, 5), absl::MakeSpan(delta));
  EXPECT_EQ(tensor.context.gradient_scale < 1, job_.gradient_clipping.has_value());
  const double sum = copy.Update(job_, *optimizer_, gradient, 0, 5);
  if (scales()) {
    const double factor = tensor.context.rate * optimizer_->Multiplier(tensor.context);
    for (size_t i = 0; i < 5; ++i) EXPECT_DOUBLE_EQ(delta[i], factor * gradient[i]);
  } else {
    double expected = 0;
    double squares = 0;
    for (const double d : delta) {
      expected += std::fabs(d);
      squares += d * d;
    }
    if (optimizer_->needs_delta_norms()) {
      EXPECT_DOUBLE_EQ(tensor.context.delta_norms.l1, expected);
      EXPECT_DOUBLE_EQ(tensor.context.delta_norms.l2_squared, squares);
      EXPECT_EQ(sum, 0);
    } else {
      EXPECT_DOUBLE_EQ(sum, expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, OptimizerTest, testing::ValuesIn(UpdateCases()),
                         [](const auto& info) { return info.param.name; });

TEST(OptimizerCasesTest, StagesAreRefusedOnlyWithRulesThatHaveTheirOwn) {
  // Ten stages each, but for the six with momentum with six of the rules, and the two others with
  // weight decay with LAMB's own.
  EXPECT_EQ(UpdateCases().size(), 10U * 10 - 6 * 6 - 2);
}

// Rules whose result does not depend on the gradient's length.
TEST(ClippingTest, DoesNotChangeRulesThatDivideByTheNorm) {
  for (const UpdateRule& rule : {UpdateRule(PercentDeltaRule{1e-3}), UpdateRule(LarsRule{})}) {
    Job job = SmallJob();
    job.momentum = {};
    job.optimizer.rule = rule;
    const auto optimizer = MakeOptimizer(rule);
    UpdatedTensor plain(job, job.model.tensors[kFew]);
    UpdatedTensor clipped = plain;
    const std::vector<float> gradient = {2, -4, 0, 1, 8};
    plain.Step(job, *optimizer, 0, gradient);
    job.gradient_clipping = GradientClippingSpec{0.5};
    clipped.Step(job, *optimizer, 0, gradient);
    EXPECT_LT(clipped.context.gradient_scale, 0.1);
    for (int i = 0; i < 5; ++i) EXPECT_FLOAT_EQ(clipped.weights[i], plain.weights[i]);
  }
}

}  // namespace
}  // namespace percentdelta

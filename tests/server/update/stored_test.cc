// SPDX-License-Identifier: Apache-2.0

// What is stored at the ends of the range of float: every rule under every stage (update_cases.h)
// with every pair of gradient and weight of a table, and with old state from one.

#include "server/update/stored.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/job/job_validation.h"
#include "tests/server/reference.h"
#include "tests/server/test_jobs.h"
#include "tests/server/update/update_cases.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(StoredTest, Table) {
  const double half_way = std::ldexp(2 - std::ldexp(1, -24), 127);  // from FLT_MAX to 2^128
  for (const auto& [value, expected] :
       std::vector<std::pair<double, float>>{{0, 0},
                                             {1, 1},
                                             {FLT_MAX, FLT_MAX},
                                             {std::nextafter(half_way, 0), FLT_MAX},
                                             {half_way, FLT_MAX},
                                             {1e39, FLT_MAX},
                                             {1e308, FLT_MAX},
                                             {kInfinity, FLT_MAX},
                                             {FLT_MIN, FLT_MIN},
                                             {FLT_TRUE_MIN, FLT_TRUE_MIN},
                                             {0.51 * FLT_TRUE_MIN, FLT_TRUE_MIN},
                                             {0.5 * FLT_TRUE_MIN, 0},
                                             {5e-324, 0}}) {
    EXPECT_EQ(Stored(value), expected) << value;
    EXPECT_EQ(std::bit_cast<uint32_t>(Stored(-value)), std::bit_cast<uint32_t>(-expected)) << value;
  }
  EXPECT_EQ(Stored(std::copysign(kNan, 1)), FLT_MAX);
  EXPECT_EQ(Stored(std::copysign(kNan, -1)), -FLT_MAX);
}

std::vector<float> Extremes() {
  std::vector<float> values = {0};
  for (const float magnitude :
       {FLT_TRUE_MIN, FLT_MIN, 1e-30F, 1e-20F, 1.0F, 1e20F, 1e30F, FLT_MAX}) {
    values.push_back(magnitude);
    values.push_back(-magnitude);
  }
  return values;
}

// What every array is filled with before the first step; sums of squares with its magnitude.
constexpr float kOldState[] = {0, FLT_TRUE_MIN, -1, 1e30F, -FLT_MAX};

class ExtremesTest : public testing::TestWithParam<UpdateCase> {
 protected:
  bool HasSquares(size_t array) const {
    const std::string name = StateNames(job_)[array];
    return name == "accumulator" || name == "second_moment";
  }

  UpdatedTensor MakeTensor(std::vector<float> weights, float old) const {
    UpdatedTensor tensor(job_, std::move(weights));
    for (size_t i = 0; i < tensor.state.size(); ++i) {
      std::fill(tensor.state[i].begin(), tensor.state[i].end(),
                HasSquares(i) ? std::fabs(old) : old);
    }
    return tensor;
  }

  ReferenceTensor MakeReference(const UpdatedTensor& tensor, float old) const {
    ReferenceTensor reference(AsDoubles(tensor.weights));
    reference.SetState(old, std::fabs(old), old, std::fabs(old));
    return reference;
  }

  const std::vector<double>& StateOf(const ReferenceTensor& reference, size_t array) const {
    const std::string name = StateNames(job_)[array];
    if (name == "velocity") return reference.velocity();
    if (name == "accumulator") return reference.squares();
    return name == "first_moment" ? reference.first_moment() : reference.second_moment();
  }

  // Nothing that is stored or shown is NaN or infinite.
  static void ExpectFinite(const Optimizer& optimizer, const UpdatedTensor& tensor) {
    const auto finite = [](float value) { return std::isfinite(value); };
    ASSERT_TRUE(std::all_of(tensor.weights.begin(), tensor.weights.end(), finite));
    for (const std::vector<float>& array : tensor.state) {
      ASSERT_TRUE(std::all_of(array.begin(), array.end(), finite));
    }
    const NormSums& norms = tensor.norms;
    const double sgd_l1 = tensor.context.rate * norms.gradient_l1;
    double multiplier = sgd_l1 > 0 ? tensor.delta_l1 / sgd_l1 : 0;
    if (optimizer.delta_l1() == Optimizer::DeltaL1::kOfGradient) {
      multiplier = optimizer.Multiplier(tensor.context);
    }
    const double weight_l1 = norms.weight_l1 > 0 ? norms.weight_l1 : 1;
    for (const double shown :
         {norms.gradient_l1, norms.weight_l1, std::sqrt(norms.gradient_l2_squared),
          std::sqrt(norms.weight_l2_squared), tensor.context.rate, multiplier, tensor.delta_l1,
          sgd_l1 / weight_l1, multiplier * (sgd_l1 / weight_l1), tensor.delta_l1 / weight_l1}) {
      ASSERT_TRUE(std::isfinite(shown)) << multiplier << " " << tensor.delta_l1;
    }
  }

  const Job job_ = GetParam().job;
  const std::unique_ptr<const Optimizer> optimizer_ = MakeOptimizer(job_.optimizer.rule);
};

// Within a rounding of the values' magnitudes, now or before.
void ExpectNear(const std::vector<double>& expected, const std::vector<float>& got,
                std::vector<double>& scale) {
  for (size_t i = 0; i < got.size(); ++i) {
    scale[i] = std::max(scale[i], std::fabs(expected[i]));
    ASSERT_NEAR(got[i], expected[i], 1e-6 * scale[i] + 2 * FLT_TRUE_MIN) << "entry " << i;
  }
}

// As tensors of one entry each, whose norms are at the end of the range, too, and as one of all.
// The gradient comes twice, then a small one, then none.
TEST_P(ExtremesTest, AgreesWithTheReferenceAndStaysFinite) {
  ReferenceRule rule = ReferenceRuleOf(job_);
  rule.keeps_floats = true;
  const std::vector<float> extremes = Extremes();
  std::vector<std::pair<std::vector<float>, std::vector<float>>> inputs(1);
  for (const float g : extremes) {
    for (const float w : extremes) {
      inputs.push_back({{g}, {w}});
      inputs[0].first.push_back(g);
      inputs[0].second.push_back(w);
    }
  }
  for (const auto& [gradient, weights] : inputs) {
    for (const float old : kOldState) {
      SCOPED_TRACE(absl::StrCat("gradient ", gradient.back(), " weight ", weights.back(), " state ",
                                old, " entries ", gradient.size()));
      UpdatedTensor tensor = MakeTensor(weights, old);
      ReferenceTensor reference = MakeReference(tensor, old);
      std::vector<std::vector<double>> scales(1 + tensor.state.size(),
                                              std::vector<double>(weights.size(), std::fabs(old)));
      scales[0] = AsDoubles(weights);
      for (double& scale : scales[0]) scale = std::fabs(scale);
      const std::vector<float> ones(gradient.size(), 1);
      const std::vector<float> zeros(gradient.size(), 0);
      int64_t step = 0;
      for (const std::vector<float>& g : {gradient, gradient, ones, zeros}) {
        tensor.Step(job_, *optimizer_, step, g);
        reference.Step(rule, step, {AsDoubles(g)});
        ExpectFinite(*optimizer_, tensor);
        ExpectNear(reference.weights(), tensor.weights, scales[0]);
        for (size_t i = 0; i < tensor.state.size(); ++i) {
          ExpectNear(StateOf(reference, i), tensor.state[i], scales[i + 1]);
        }
        if (HasFatalFailure()) FAIL() << "step " << step;
        ++step;
      }
    }
  }
}

// Whatever came before, a gradient changes a tensor that has weights: the delta is not 0, however
// small compared with the weight.
TEST_P(ExtremesTest, NothingFreezes) {
  for (const float before : Extremes()) {
    for (const float after : Extremes()) {
      if (after == 0) continue;
      SCOPED_TRACE(absl::StrCat("gradient ", before, ", then ", after));
      UpdatedTensor tensor = MakeTensor({1}, 0);
      for (int64_t step = 0; step < 3; ++step) tensor.Step(job_, *optimizer_, step, {before});
      tensor.weights = {1};
      tensor.Reduce(job_, *optimizer_, 3, {after});
      std::vector<double> delta(1);
      optimizer_->Delta(tensor.context, {after}, tensor.weights,
                        StateRange(absl::MakeSpan(tensor.state), 0, 1), absl::MakeSpan(delta));
      ASSERT_NE(optimizer_->Factor(tensor.context) * delta[0], 0);
    }
  }
}

// The job with all numbers that it uses at one end of their range.
Job WithNumbers(Job job, double number) {
  job.optimizer.learning_rate = number;
  std::visit(
      [&](auto& rule) {
        for (const auto& field : rule.Fields()) {
          double& value = rule.*field.value;
          if (field.range == NumberRange::kNotNegative && value == 0) continue;
          value = field.range == NumberRange::kBelowOne ? std::min(number, std::nextafter(1, 0))
                                                        : number;
        }
      },
      job.optimizer.rule);
  if (job.gradient_clipping) job.gradient_clipping->norm = number;
  if (job.weight_decay) job.weight_decay->rate = number;
  return job;
}

TEST_P(ExtremesTest, StaysFiniteWithTheJobsNumbersAtTheirEnds) {
  for (const double number : {1e-37, 1e37}) {
    const Job job = WithNumbers(job_, number);
    ASSERT_OK(ValidateJob(job));
    const auto optimizer = MakeOptimizer(job.optimizer.rule);
    for (const float g : Extremes()) {
      for (const float w : Extremes()) {
        SCOPED_TRACE(absl::StrCat("numbers ", number, " gradient ", g, " weight ", w));
        UpdatedTensor tensor = MakeTensor({w, 1}, 0);
        for (int64_t step = 0; step < 4; ++step) {
          tensor.Step(job, *optimizer, step, {g, -w});
          ExpectFinite(*optimizer, tensor);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

// In full registers and one by one.
TEST_P(ExtremesTest, DoesNotDependOnThePieces) {
  std::vector<float> gradient;
  std::vector<float> weights;
  for (const float g : Extremes()) {
    for (const float w : Extremes()) {
      gradient.push_back(g);
      weights.push_back(w);
    }
  }
  for (const float old : kOldState) {
    UpdatedTensor whole = MakeTensor(weights, old);
    UpdatedTensor pieces = whole;
    for (int64_t step = 0; step < 3; ++step) {
      whole.Step(job_, *optimizer_, step, gradient);
      pieces.Reduce(job_, *optimizer_, step, gradient);
      for (int64_t i = 0; i < pieces.size(); ++i) pieces.Update(job_, *optimizer_, gradient, i, 1);
      pieces.weights.swap(pieces.next);
      ASSERT_EQ(whole.weights, pieces.weights) << "state " << old << " step " << step;
      ASSERT_EQ(whole.state, pieces.state) << "state " << old << " step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, ExtremesTest, testing::ValuesIn(UpdateCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace percentdelta

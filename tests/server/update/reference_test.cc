// SPDX-License-Identifier: Apache-2.0

// Compares the reference itself with numbers computed by hand.

#include "tests/server/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace percentdelta {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;

constexpr double kTiny = 1e-15;

// Equation 8 holds for epsilon = 0; this one is negligible compared with the weights here.
ReferenceRule PercentDelta(double eta, double epsilon = 1e-30) {
  return {.eta = eta, .rule = PercentDeltaRule{epsilon}};
}

// The weights after one step, the step number being `t`.
std::vector<double> After(const ReferenceRule& rule, const std::vector<double>& weights,
                          const std::vector<double>& gradient, int64_t t = 0) {
  ReferenceTensor tensor(weights);
  tensor.Step(rule, t, {gradient});
  return tensor.weights();
}

TEST(ReferenceTest, SignOfZeroIsPlus) {
  EXPECT_EQ(Sign(2.5), 1);
  EXPECT_EQ(Sign(-2.5), -1);
  EXPECT_EQ(Sign(0.0), 1);
  EXPECT_EQ(Sign(-0.0), 1);
  EXPECT_EQ(Sign(-std::numeric_limits<double>::denorm_min()), -1);
}

// Equation 8: a scalar changes by eta of its absolute value against the sign of its gradient, of
// whatever size that is.
TEST(ReferenceTest, ScalarChangesByItsPercentage) {
  const ReferenceRule rule = PercentDelta(0.03);
  EXPECT_THAT(After(rule, {2.0}, {5.0}), ElementsAre(DoubleNear(1.94, kTiny)));
  EXPECT_THAT(After(rule, {2.0}, {-1e-9}), ElementsAre(DoubleNear(2.06, kTiny)));
  EXPECT_THAT(After(rule, {-2.0}, {1e9}), ElementsAre(DoubleNear(-2.06, kTiny)));
  EXPECT_THAT(After(rule, {-2.0}, {-5.0}), ElementsAre(DoubleNear(-1.94, kTiny)));
}

// g / W = (3/1, 1/-2, 0/4): ||g / W||_1 = 3.5, multiplier 3 / 3.5 = 6/7, rate 0.07:
// delta = 0.06 * g = (0.18, 0.06, 0), ||W||_1 = 7.
TEST(ReferenceTest, TensorByHand) {
  ReferenceTensor tensor({1.0, -2.0, 4.0});
  tensor.Step(PercentDelta(0.07), 0, {{3.0, 1.0, 0.0}});
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {0.82, -2.06, 4.0}));
  EXPECT_DOUBLE_EQ(tensor.last_multiplier(), 6.0 / 7.0);
  EXPECT_DOUBLE_EQ(tensor.last_rate(), 0.07);
  EXPECT_DOUBLE_EQ(tensor.last_relative_delta(), 0.24 / 7.0);
  EXPECT_DOUBLE_EQ(tensor.last_sgd_relative_delta(), 0.07 * 4.0 / 7.0);
}

// Footnote 2 pushes away from zero on both sides: 1 + 0.25 and -1 - 0.25. So ||g / W||_1 =
// 5/1.25 + 5/1.25 = 8 and the multiplier 1/4. (A plain "+ epsilon" would give 5/1.25 + 5/0.75.)
TEST(ReferenceTest, EpsilonKeepsTheSign) {
  ReferenceTensor tensor({1.0, -1.0});
  tensor.Step(PercentDelta(0.1, 0.25), 0, {{5.0, 5.0}});
  EXPECT_DOUBLE_EQ(tensor.last_multiplier(), 0.25);
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {0.875, -1.125}));
}

TEST(ReferenceTest, ZeroGradientChangesNothing) {
  ReferenceTensor tensor({1.0, -2.0, 0.0});
  tensor.Step(PercentDelta(0.03), 0, {{0.0, -0.0, 0.0}});
  EXPECT_THAT(tensor.weights(), ElementsAre(1.0, -2.0, 0.0));
  EXPECT_EQ(tensor.last_multiplier(), 0);
  EXPECT_EQ(tensor.last_relative_delta(), 0);
  EXPECT_EQ(tensor.last_sgd_relative_delta(), 0);
}

// All entries count |g| / epsilon: (6 + 2) / 0.5 = 16, multiplier 2 / 16, delta = 0.1 / 8 * g.
// The mean change is (0.075 + 0.025) / 2 = 0.05 = eta * epsilon.
TEST(ReferenceTest, ZeroTensorMovesByEpsilonsPercentage) {
  ReferenceTensor tensor({0.0, -0.0});
  tensor.Step(PercentDelta(0.1, 0.5), 0, {{6.0, -2.0}});
  EXPECT_DOUBLE_EQ(tensor.last_multiplier(), 0.125);
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {-0.075, 0.025}));
  EXPECT_EQ(tensor.last_relative_delta(), 0);  // no weights to be relative to
  EXPECT_EQ(tensor.last_sgd_relative_delta(), 0);
}

// A zero entry among others: ||g / W||_1 = 1 / (2 + 0.5) + 1 / 0.5 = 2.4, multiplier 2 / 2.4.
TEST(ReferenceTest, ZeroEntry) {
  ReferenceTensor tensor({2.0, 0.0});
  tensor.Step(PercentDelta(0.12, 0.5), 0, {{1.0, 1.0}});
  EXPECT_DOUBLE_EQ(tensor.last_multiplier(), 2.0 / 2.4);
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {1.9, -0.1}));
}

TEST(ReferenceTest, SlotsAreAveraged) {
  ReferenceTensor slots({1.0, -2.0, 4.0});
  slots.Step(PercentDelta(0.07), 0, {{6.0, 0.0, 1.0}, {0.0, 2.0, -1.0}});
  EXPECT_THAT(slots.weights(), Pointwise(DoubleNear(kTiny), {0.82, -2.06, 4.0}));
}

TEST(ReferenceTest, Sgd) {
  ReferenceTensor tensor({1.0, -2.0});
  tensor.Step({.eta = 0.1, .rule = SgdRule{}}, 0, {{3.0, 1.0}});
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {0.7, -2.1}));
  EXPECT_EQ(tensor.last_multiplier(), 1);
  EXPECT_DOUBLE_EQ(tensor.last_relative_delta(), 0.4 / 3.0);
  EXPECT_DOUBLE_EQ(tensor.last_sgd_relative_delta(), 0.4 / 3.0);
}

TEST(ReferenceTest, GammaFallsToItsFloor) {
  const ReferenceRule constant{.eta = 1};
  EXPECT_EQ(Gamma(constant, 0), 1);
  EXPECT_EQ(Gamma(constant, 1000000), 1);

  const ReferenceRule equation9{.eta = 1, .slope = 0.25};
  EXPECT_EQ(Gamma(equation9, 0), 1);
  EXPECT_EQ(Gamma(equation9, 3), 0.25);
  EXPECT_EQ(Gamma(equation9, 4), 0);
  EXPECT_EQ(Gamma(equation9, 5), 0);

  const ReferenceRule equation10{.eta = 1, .slope = 0.25, .floor = 0.125};
  EXPECT_EQ(Gamma(equation10, 2), 0.5);
  EXPECT_EQ(Gamma(equation10, 4), 0.125);
  EXPECT_EQ(Gamma(equation10, 100), 0.125);

  // And in the step: 2 changes by 10 % * gamma(2) = 5 %.
  ReferenceRule rule = PercentDelta(0.1);
  rule.slope = 0.25;
  EXPECT_THAT(After(rule, {2.0}, {7.0}, 2), ElementsAre(DoubleNear(1.9, kTiny)));
}

// SGD at rate 1 with a gradient of 1: the accumulator goes 1, 1.5, 1.75 undamped, and half of that
// with a dampening of a half.
TEST(ReferenceTest, Momentum) {
  ReferenceRule rule{.eta = 1, .rule = SgdRule{}, .mu = 0.5};
  ReferenceTensor undamped({0.0});
  for (int64_t t = 0; t < 3; ++t) undamped.Step(rule, t, {{1.0}});
  EXPECT_THAT(undamped.velocity(), ElementsAre(1.75));
  EXPECT_THAT(undamped.weights(), ElementsAre(-4.25));

  rule.dampening = 0.5;
  ReferenceTensor damped({0.0});
  for (int64_t t = 0; t < 3; ++t) damped.Step(rule, t, {{1.0}});
  EXPECT_THAT(damped.velocity(), ElementsAre(0.875));
  EXPECT_THAT(damped.weights(), ElementsAre(-2.125));
}

// With momentum the tensor keeps moving under a zero gradient.
TEST(ReferenceTest, ZeroGradientLeavesMomentum) {
  ReferenceRule rule = PercentDelta(0.5);
  rule.mu = 0.5;
  ReferenceTensor tensor({8.0});
  tensor.Step(rule, 0, {{3.0}});
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {4.0}));
  tensor.Step(rule, 1, {{0.0}});
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {2.0}));
}

// A gradient of 3 and 4, of length 5, is halved.
TEST(ReferenceTest, Clipping) {
  const ReferenceRule rule{.eta = 1, .rule = SgdRule{}, .clipping_norm = 2.5};
  ReferenceTensor tensor({1.0, 1.0});
  tensor.Step(rule, 0, {{3.0, -4.0}});
  EXPECT_THAT(tensor.weights(), ElementsAre(-0.5, 3.0));
  EXPECT_EQ(tensor.last_multiplier(), 0.5);
  EXPECT_EQ(tensor.last_sgd_relative_delta(), 3.5);  // what it would have been
  EXPECT_THAT(After(rule, {1.0, 1.0}, {1.5, -2.0}), ElementsAre(-0.5, 3.0));
}

// At rate 1 with mu and dampening of a half: v = 0.5, then 0.75; changes 0.5 * v + 0.5.
TEST(ReferenceTest, NesterovLooksAhead) {
  const ReferenceRule rule{
      .eta = 1, .rule = SgdRule{}, .mu = 0.5, .dampening = 0.5, .nesterov = true};
  ReferenceTensor tensor({0.0});
  tensor.Step(rule, 0, {{1.0}});
  EXPECT_THAT(tensor.weights(), ElementsAre(-0.75));
  tensor.Step(rule, 1, {{1.0}});
  EXPECT_THAT(tensor.velocity(), ElementsAre(0.75));
  EXPECT_THAT(tensor.weights(), ElementsAre(-1.625));
}

TEST(ReferenceTest, WeightDecayIsOfTheWeightsBefore) {
  const ReferenceRule rule{.eta = 0.5, .rule = SgdRule{}, .weight_decay = 0.25};
  EXPECT_THAT(After(rule, {8.0}, {2.0}), ElementsAre(6.0));  // 8 - 0.5 * 2 - 0.5 * 0.25 * 8
}

// S = 9, then 25: 3 / 3, then 4 / 5. With what S begins with and epsilon: 3 / (sqrt(16 + 9) + 1).
TEST(ReferenceTest, AdaGrad) {
  ReferenceRule rule{.eta = 1, .rule = AdaGradRule{}};
  ReferenceTensor tensor({0.0, 0.0});
  tensor.Step(rule, 0, {{3.0, 0.0}});
  EXPECT_THAT(tensor.weights(), ElementsAre(-1.0, 0.0));
  tensor.Step(rule, 1, {{-4.0, 0.0}});
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {-0.2, 0.0}));
  rule.rule = AdaGradRule{16, 1};
  EXPECT_THAT(After(rule, {0.0}, {3.0}), ElementsAre(-0.5));
}

// The first step is eta in each entry, whatever the gradient; then moments of one half each:
// m = 1/2, 1/4 and v = 1/2, 1/4, over 1 - 1/4.
TEST(ReferenceTest, Adam) {
  ReferenceTensor tensor({0.0, 0.0});
  const ReferenceRule rule{.eta = 1, .rule = AdamRule{0.5, 0.5, 0}};
  tensor.Step(rule, 0, {{1.0, -1e-3}});
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {-1.0, 1.0}));
  tensor.Step(rule, 1, {{0.0, 0.0}});
  const double change = (0.25 / 0.75) / std::sqrt(0.25 / 0.75);
  EXPECT_THAT(tensor.weights(), Pointwise(DoubleNear(kTiny), {-1.0 - change, 1.0 + change}));
}

// ||W|| = 5, ||g|| = 10: half the gradient. With a decay of 1/2: 5 / (10 + 2.5) * (g + W / 2).
TEST(ReferenceTest, Lars) {
  ReferenceRule rule{.eta = 1, .rule = LarsRule{1, 0}};
  EXPECT_THAT(After(rule, {3.0, 4.0}, {10.0, 0.0}), ElementsAre(-2.0, 4.0));
  EXPECT_THAT(After(rule, {3.0, 4.0}, {0.0, 0.0}), ElementsAre(3.0, 4.0));
  EXPECT_THAT(After(rule, {0.0, 0.0}, {10.0, 0.0}), ElementsAre(0.0, 0.0));
  rule.rule = LarsRule{1, 0.5};
  EXPECT_THAT(After(rule, {3.0, 4.0}, {10.0, 0.0}),
              Pointwise(DoubleNear(kTiny), {3 - 0.4 * 11.5, 4 - 0.4 * 2}));
  rule.rule = LarsRule{0.5, 0.5};
  EXPECT_THAT(After(rule, {3.0, 4.0}, {10.0, 0.0}),
              Pointwise(DoubleNear(kTiny), {3 - 0.2 * 11.5, 4 - 0.2 * 2}));
  // Without a gradient 0.5 * 5 / (0.5 * 5) = 1: W / 2.
  EXPECT_THAT(After(rule, {3.0, 4.0}, {0.0, 0.0}), ElementsAre(1.5, 2.0));
  EXPECT_THAT(After(rule, {0.0, 0.0}, {0.0, 0.0}), ElementsAre(0.0, 0.0));
}

// The first step's direction is (1, -1), of length sqrt(2), and ||W|| = 5. Then with a decay of
// 1/2: (1 + 3/2, -1 + 4/2), and with a maximum of 1 for ||W||.
TEST(ReferenceTest, Lamb) {
  ReferenceRule rule{.eta = 0.1, .rule = LambRule{0.5, 0.5, 0, 0, 0}};
  const double change = 0.1 * 5 / std::sqrt(2);
  EXPECT_THAT(After(rule, {3.0, 4.0}, {7.0, -1e-3}),
              Pointwise(DoubleNear(kTiny), {3 - change, 4 + change}));
  rule.rule = LambRule{0.5, 0.5, 0, 0.5, 0};
  const double trust = 0.1 * 5 / std::sqrt(2.5 * 2.5 + 1);
  EXPECT_THAT(After(rule, {3.0, 4.0}, {7.0, -1e-3}),
              Pointwise(DoubleNear(kTiny), {3 - trust * 2.5, 4 - trust}));
  rule.rule = LambRule{0.5, 0.5, 0, 0.5, 1};
  EXPECT_THAT(After(rule, {3.0, 4.0}, {7.0, -1e-3}),
              Pointwise(DoubleNear(kTiny), {3 - trust / 5 * 2.5, 4 - trust / 5}));
  // Without weights the ratio is 1, and without a direction there is no change.
  EXPECT_THAT(After(rule, {0.0, 0.0}, {7.0, -1e-3}), Pointwise(DoubleNear(kTiny), {-0.1, 0.1}));
  rule.rule = LambRule{0.5, 0.5, 1, 0, 0};
  EXPECT_THAT(After(rule, {3.0, 4.0}, {0.0, 0.0}), ElementsAre(3.0, 4.0));
}

// Stored as float: 1 + 2^-25 is 1, the change of 1e39 ends at the largest float, and so does its
// velocity.
TEST(ReferenceTest, KeepsFloats) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  const ReferenceRule rule{.eta = 1, .rule = SgdRule{}, .mu = 0.5, .keeps_floats = true};
  ReferenceTensor tensor({1.0, 1.0, 1.0});
  tensor.Step(rule, 0, {{std::ldexp(1.0, -25), 1e39, -1e39}});
  EXPECT_THAT(tensor.weights(), ElementsAre(1.0, -kLargest, kLargest));
  EXPECT_THAT(tensor.velocity(), ElementsAre(std::ldexp(1.0, -25), kLargest, -kLargest));
}

// S of 1e40 ends at the largest float; Adam takes 1e30 as 2^63.
TEST(ReferenceTest, KeepsRulesStateAsFloats) {
  ReferenceRule rule{.eta = 1, .rule = AdaGradRule{}, .keeps_floats = true};
  ReferenceTensor ada_grad({0.0});
  ada_grad.Step(rule, 0, {{1e20}});
  EXPECT_THAT(ada_grad.squares(), ElementsAre(std::numeric_limits<float>::max()));
  EXPECT_THAT(ada_grad.weights(), ElementsAre(-1.0));

  rule = {.eta = 1, .rule = AdamRule{0.5, 0.5, 0}, .keeps_floats = true};
  ReferenceTensor adam({0.0});
  adam.Step(rule, 0, {{-1e30}});
  EXPECT_THAT(adam.first_moment(), ElementsAre(-std::ldexp(1.0, 62)));
  EXPECT_THAT(adam.second_moment(), ElementsAre(std::ldexp(1.0, 125)));
  EXPECT_THAT(adam.weights(), ElementsAre(1.0));
}

}  // namespace
}  // namespace percentdelta

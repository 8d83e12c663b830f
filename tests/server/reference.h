// SPDX-License-Identifier: Apache-2.0

// The update rules again, written for readers and not for speed: plain double precision,
// one loop a formula, one tensor in one piece. They follow the papers (S. Abu-El-Haija,
// "Proportionate gradient updates with PercentDelta", 2017, unless another is named) and use
// nothing in server/, so that the two can only agree by both being right.

#ifndef PERCENTDELTA_TESTS_SERVER_REFERENCE_H_
#define PERCENTDELTA_TESTS_SERVER_REFERENCE_H_

#include <cstdint>
#include <vector>

#include "common/job/rule_spec.h"

namespace percentdelta {

// Everything that decides an update besides the weights and gradients. The names are the papers'.
struct ReferenceRule {
  double eta = 0;  // learning rate, > 0
  UpdateRule rule = PercentDeltaRule();

  double slope = 0;         // m of Equations 9 and 10; 0: gamma is constant 1
  double floor = 0;         // beta of Equation 10; 0: Equation 9, never below 0; also the cosine's
  int64_t every_steps = 0;  // > 0: gamma is factor^floor(t / every_steps) instead
  double factor = 0;
  int64_t cosine_steps = 0;  // > 0: half a cosine instead, over this number of steps
  int64_t warmup_steps = 0;

  double mu = 0;         // coefficient of momentum; 0: v = delta if dampening is 0, too
  double dampening = 0;  // v = mu * v + (1 - dampening) * delta
  bool nesterov = false;

  double clipping_norm = 0;  // 0: no clipping
  double weight_decay = 0;   // decoupled

  // What is kept from step to step (weights, velocity, S, moments) is rounded to float, and ends at
  // its largest, as servers store it. False: kept in double.
  bool keeps_floats = false;
};

// Footnote 2: the sign that epsilon is pushed by. +1 for zero, of either sign: a zero entry has to
// be pushed somewhere.
double Sign(double value);

// Equation 10: max(beta, 1 - t * m). With beta = 0, Equation 9, but never below 0. Or one of
// the others.
double Gamma(const ReferenceRule& rule, int64_t t);

// One trainable tensor, flattened. Not thread-safe.
class ReferenceTensor {
 public:
  explicit ReferenceTensor(std::vector<double> weights);

  // Computes the weights of step t + 1 from those of step t. `gradients` holds the slots of the
  // step in slot order, at least one, each as long as the weights; their mean is the step's
  // gradient.
  void Step(const ReferenceRule& rule, int64_t t,
            const std::vector<std::vector<double>>& gradients);

  const std::vector<double>& weights() const { return weights_; }

  // The accumulator of momentum; zeros before the first step.
  const std::vector<double>& velocity() const { return velocity_; }

  // What the rule itself keeps, likewise: AdaGrad's S without its initial value, the moments of
  // Adam and LAMB.
  const std::vector<double>& squares() const { return squares_; }
  const std::vector<double>& first_moment() const { return m_; }
  const std::vector<double>& second_moment() const { return v_; }

  // Fills each of these arrays with the value.
  void SetState(double velocity, double squares, double first_moment, double second_moment);

  // Of the last step; 0 before the first.

  // What the gradient is multiplied by besides the rate: Equation 7, or 1 under SGD, and less where
  // it was clipped. Of rules that do not multiply it, ||delta||_1 / (rate * ||g||_1). 0 when the
  // gradient was all zero.
  double last_multiplier() const { return multiplier_; }

  // eta * gamma(t).
  double last_rate() const { return rate_; }

  // Figure 1's bars: ||delta||_1 / ||W||_1 of the rule (before momentum) and of plain SGD at the
  // same rate, over the weights before the step. 0 when those were all zero.
  double last_relative_delta() const { return relative_delta_; }
  double last_sgd_relative_delta() const { return sgd_relative_delta_; }

 private:
  // What a rule proposes for the clipped gradient. Sets multiplier_ if the rule multiplies it.
  using Values = std::vector<double>;
  Values Delta(const PercentDeltaRule& spec, const ReferenceRule& rule, int64_t t, const Values& g);
  Values Delta(const SgdRule& spec, const ReferenceRule& rule, int64_t t, const Values& g);
  Values Delta(const AdaGradRule& spec, const ReferenceRule& rule, int64_t t, const Values& g);
  Values Delta(const AdamRule& spec, const ReferenceRule& rule, int64_t t, const Values& g);
  Values Delta(const LarsRule& spec, const ReferenceRule& rule, int64_t t, const Values& g);
  Values Delta(const LambRule& spec, const ReferenceRule& rule, int64_t t, const Values& g);

  std::vector<double> weights_;
  std::vector<double> velocity_;
  std::vector<double> squares_;  // AdaGrad's S without its initial value
  std::vector<double> m_, v_;    // the moments of Adam and LAMB
  double multiplier_ = 0;
  double rate_ = 0;
  double relative_delta_ = 0;
  double sgd_relative_delta_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_REFERENCE_H_

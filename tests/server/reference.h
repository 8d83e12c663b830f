// The update rule once more, written for its reader and not for speed: plain double precision, one
// loop a formula, one tensor in one piece. It is made from the paper (S. Abu-El-Haija,
// "Proportionate gradient updates with PercentDelta", 2017) and from nothing in server/, so that
// the two can only agree by both being right.

#ifndef PERCENTDELTA_TESTS_SERVER_REFERENCE_H_
#define PERCENTDELTA_TESTS_SERVER_REFERENCE_H_

#include <cstdint>
#include <vector>

namespace percentdelta {

// Everything that decides an update but the weights and gradients. The names are the paper's.
struct ReferenceRule {
  double eta = 0;      // learning rate, > 0
  double epsilon = 0;  // footnote 2, > 0; unused by SGD
  bool sgd = false;    // Equation 1 instead of Equation 6

  double slope = 0;  // m of Equations 9 and 10; 0: gamma is constant 1
  double floor = 0;  // beta of Equation 10; 0: Equation 9, never below 0

  double mu = 0;         // coefficient of momentum; 0: v = delta if dampening is 0, too
  double dampening = 0;  // v = mu * v + (1 - dampening) * delta
};

// Footnote 2: the sign that epsilon is pushed by. +1 for zero, of either sign: a zero entry has to
// be pushed somewhere.
double Sign(double value);

// Equation 10: max(beta, 1 - t * m). With beta = 0, Equation 9 kept from getting negative.
double Gamma(const ReferenceRule& rule, int64_t t);

// One trainable tensor, flattened. Not thread-safe.
class ReferenceTensor {
 public:
  explicit ReferenceTensor(std::vector<double> weights);

  // Goes from the weights of step t to those of step t + 1. `gradients` holds the slots of the step
  // in slot order, at least one, each as long as the weights; their mean is the step's gradient.
  void Step(const ReferenceRule& rule, int64_t t,
            const std::vector<std::vector<double>>& gradients);

  const std::vector<double>& weights() const { return weights_; }

  // The accumulator of momentum; zeros before the first step.
  const std::vector<double>& velocity() const { return velocity_; }

  // Of the last step; 0 before the first.

  // Equation 7, or 1 under SGD; 0 when the gradient was all zero.
  double last_multiplier() const { return multiplier_; }

  // eta * gamma(t).
  double last_rate() const { return rate_; }

  // Figure 1's bars: ||delta||_1 / ||W||_1 of the rule (before momentum) and of plain SGD at the
  // same rate, over the weights before the step. 0 when those were all zero.
  double last_relative_delta() const { return relative_delta_; }
  double last_sgd_relative_delta() const { return sgd_relative_delta_; }

 private:
  std::vector<double> weights_;
  std::vector<double> velocity_;
  double multiplier_ = 0;
  double rate_ = 0;
  double relative_delta_ = 0;
  double sgd_relative_delta_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_REFERENCE_H_

#include "tests/server/reference.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <utility>

namespace percentdelta {
namespace {

// The mean of the slots' gradients, added in slot order.
std::vector<double> Mean(const std::vector<std::vector<double>>& gradients) {
  assert(!gradients.empty());
  std::vector<double> mean(gradients[0].size(), 0.0);
  for (const std::vector<double>& gradient : gradients) {
    assert(gradient.size() == mean.size());
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += gradient[i];
  }
  for (double& value : mean) value /= static_cast<double>(gradients.size());
  return mean;
}

double L1Norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::abs(value);
  return sum;
}

// Equation 7: size(W) / || g / W ||_1, the division by W as in footnote 2.
double PercentDeltaMultiplier(const std::vector<double>& w, const std::vector<double>& g,
                              double epsilon) {
  double ratio_l1 = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    ratio_l1 += std::abs(g[i] / (w[i] + epsilon * Sign(w[i])));
  }
  if (ratio_l1 == 0) return 0;  // no gradient, no direction to go
  return static_cast<double>(w.size()) / ratio_l1;
}

}  // namespace

double Sign(double value) { return value < 0 ? -1.0 : 1.0; }

double Gamma(const ReferenceRule& rule, int64_t t) {
  return std::max(rule.floor, 1.0 - static_cast<double>(t) * rule.slope);
}

ReferenceTensor::ReferenceTensor(std::vector<double> weights)
    : weights_(std::move(weights)), velocity_(weights_.size(), 0.0) {}

void ReferenceTensor::Step(const ReferenceRule& rule, int64_t t,
                           const std::vector<std::vector<double>>& gradients) {
  const std::vector<double> g = Mean(gradients);
  assert(g.size() == weights_.size());

  rate_ = rule.eta * Gamma(rule, t);
  if (rule.sgd) {
    multiplier_ = L1Norm(g) > 0 ? 1.0 : 0.0;
  } else {
    multiplier_ = PercentDeltaMultiplier(weights_, g, rule.epsilon);
  }

  // Equation 6, and with a multiplier of 1 Equation 1.
  std::vector<double> delta(g.size());
  for (size_t i = 0; i < g.size(); ++i) delta[i] = rate_ * multiplier_ * g[i];

  // Section 5.1, before the weights change.
  const double weight_l1 = L1Norm(weights_);
  relative_delta_ = weight_l1 > 0 ? L1Norm(delta) / weight_l1 : 0.0;
  sgd_relative_delta_ = weight_l1 > 0 ? rate_ * L1Norm(g) / weight_l1 : 0.0;

  // Section 7: "passed through a standard momentum accumulator", with dampening.
  for (size_t i = 0; i < g.size(); ++i) {
    velocity_[i] = rule.mu * velocity_[i] + (1.0 - rule.dampening) * delta[i];
  }

  // Equation 1's W := W - delta, of the accumulator.
  for (size_t i = 0; i < g.size(); ++i) weights_[i] -= velocity_[i];
}

}  // namespace percentdelta

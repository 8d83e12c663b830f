// SPDX-License-Identifier: Apache-2.0

#include "tests/server/reference.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <variant>

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

double L2Norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

// A value as it is kept from step to step.
double Kept(const ReferenceRule& rule, double value) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (!rule.keeps_floats) return value;
  return static_cast<double>(static_cast<float>(std::clamp(value, -kLargest, kLargest)));
}

// Adam and LAMB take no entry beyond 2^63, whose square a float can hold.
double AdamsGradient(double g) { return std::clamp(g, -std::pow(2.0, 63), std::pow(2.0, 63)); }

// Gamma without warm-up.
double Decay(const ReferenceRule& rule, int64_t t) {
  if (rule.every_steps > 0) {
    const int64_t times = t / rule.every_steps;  // rounded down
    return std::pow(rule.factor, static_cast<double>(times));
  }
  if (rule.cosine_steps > 0) {  // Loshchilov and Hutter, 2017, Equation 5
    const double part = static_cast<double>(std::min(t, rule.cosine_steps)) / rule.cosine_steps;
    return rule.floor + 0.5 * (1 - rule.floor) * (1 + std::cos(std::acos(-1.0) * part));
  }
  return std::max(rule.floor, 1.0 - static_cast<double>(t) * rule.slope);
}

}  // namespace

double Sign(double value) { return value < 0 ? -1.0 : 1.0; }

double Gamma(const ReferenceRule& rule, int64_t t) {
  if (rule.warmup_steps == 0) return Decay(rule, t);
  return Decay(rule, t) * std::min(1.0, static_cast<double>(t + 1) / rule.warmup_steps);
}

ReferenceTensor::ReferenceTensor(std::vector<double> weights)
    : weights_(std::move(weights)),
      velocity_(weights_.size(), 0.0),
      squares_(weights_.size(), 0.0),
      m_(weights_.size(), 0.0),
      v_(weights_.size(), 0.0) {}

void ReferenceTensor::SetState(double velocity, double squares, double first_moment,
                               double second_moment) {
  std::fill(velocity_.begin(), velocity_.end(), velocity);
  std::fill(squares_.begin(), squares_.end(), squares);
  std::fill(m_.begin(), m_.end(), first_moment);
  std::fill(v_.begin(), v_.end(), second_moment);
}

// Equation 6.
std::vector<double> ReferenceTensor::Delta(const PercentDeltaRule& spec,
                                           const ReferenceRule& /*rule*/, int64_t /*t*/,
                                           const Values& g) {
  multiplier_ = PercentDeltaMultiplier(weights_, g, spec.epsilon);
  Values delta(g.size());
  for (size_t i = 0; i < g.size(); ++i) delta[i] = rate_ * multiplier_ * g[i];
  return delta;
}

// Equation 1.
std::vector<double> ReferenceTensor::Delta(const SgdRule& /*spec*/, const ReferenceRule& /*rule*/,
                                           int64_t /*t*/, const Values& g) {
  multiplier_ = L1Norm(g) > 0 ? 1.0 : 0.0;
  Values delta(g.size());
  for (size_t i = 0; i < g.size(); ++i) delta[i] = rate_ * g[i];
  return delta;
}

std::vector<double> ReferenceTensor::Delta(const AdaGradRule& spec, const ReferenceRule& rule,
                                           int64_t /*t*/, const Values& g) {
  Values delta(g.size());
  for (size_t i = 0; i < g.size(); ++i) {
    const double sum = squares_[i] + g[i] * g[i];  // Equation 3
    squares_[i] = Kept(rule, sum);
    if (g[i] == 0) continue;
    delta[i] = rate_ * g[i] / (std::sqrt(spec.initial_accumulator + sum) + spec.epsilon);  // 4
  }
  return delta;
}

// Kingma and Ba, 2015, Algorithm 1; its t begins with 1.
std::vector<double> ReferenceTensor::Delta(const AdamRule& spec, const ReferenceRule& rule,
                                           int64_t t, const Values& g) {
  Values delta(g.size());
  for (size_t i = 0; i < g.size(); ++i) {
    const double gradient = AdamsGradient(g[i]);
    const double m = spec.beta1 * m_[i] + (1 - spec.beta1) * gradient;
    const double v = spec.beta2 * v_[i] + (1 - spec.beta2) * gradient * gradient;
    m_[i] = Kept(rule, m);
    v_[i] = Kept(rule, v);
    const double m_hat = m / (1 - std::pow(spec.beta1, t + 1));
    const double v_hat = v / (1 - std::pow(spec.beta2, t + 1));
    delta[i] = rate_ * m_hat / (std::sqrt(v_hat) + spec.epsilon);
  }
  return delta;
}

// Equation 5; You et al., 2017, Algorithm 1.
std::vector<double> ReferenceTensor::Delta(const LarsRule& spec, const ReferenceRule& /*rule*/,
                                           int64_t /*t*/, const Values& g) {
  Values delta(g.size());
  const double divisor = L2Norm(g) + spec.weight_decay * L2Norm(weights_);
  if (divisor == 0) return delta;
  multiplier_ = spec.trust_coefficient * L2Norm(weights_) / divisor;
  for (size_t i = 0; i < g.size(); ++i) {
    delta[i] = rate_ * multiplier_ * (g[i] + spec.weight_decay * weights_[i]);
  }
  return delta;
}

// You et al., 2020, Algorithm 2, whose t begins with 1; phi of its section 3 with gamma_l = 0.
std::vector<double> ReferenceTensor::Delta(const LambRule& spec, const ReferenceRule& rule,
                                           int64_t t, const Values& g) {
  Values direction(g.size());  // r + lambda * x
  for (size_t i = 0; i < g.size(); ++i) {
    const double gradient = AdamsGradient(g[i]);
    const double m = spec.beta1 * m_[i] + (1 - spec.beta1) * gradient;
    const double v = spec.beta2 * v_[i] + (1 - spec.beta2) * gradient * gradient;
    m_[i] = Kept(rule, m);
    v_[i] = Kept(rule, v);
    const double ratio = m / (1 - std::pow(spec.beta1, t + 1)) /
                         (std::sqrt(v / (1 - std::pow(spec.beta2, t + 1))) + spec.epsilon);
    direction[i] = ratio + spec.weight_decay * weights_[i];
  }
  double phi = L2Norm(weights_);
  if (spec.max_weight_norm > 0 && phi > spec.max_weight_norm) phi = spec.max_weight_norm;
  double trust = 1;
  if (L2Norm(weights_) > 0 && L2Norm(direction) > 0) trust = phi / L2Norm(direction);
  for (double& value : direction) value *= rate_ * trust;
  return direction;
}

void ReferenceTensor::Step(const ReferenceRule& rule, int64_t t,
                           const std::vector<std::vector<double>>& gradients) {
  const std::vector<double> unclipped = Mean(gradients);
  assert(unclipped.size() == weights_.size());
  rate_ = rule.eta * Gamma(rule, t);

  // Pascanu et al., 2013, Algorithm 1.
  std::vector<double> g = unclipped;
  double clipping = 1;
  if (rule.clipping_norm > 0 && L2Norm(g) > rule.clipping_norm) {
    clipping = rule.clipping_norm / L2Norm(g);
  }
  for (double& value : g) value *= clipping;

  multiplier_ = 0;
  const std::vector<double> delta =
      std::visit([&](const auto& spec) { return Delta(spec, rule, t, g); }, rule.rule);
  multiplier_ *= clipping;
  const auto* lars = std::get_if<LarsRule>(&rule.rule);
  const bool multiplies = std::holds_alternative<PercentDeltaRule>(rule.rule) ||
                          std::holds_alternative<SgdRule>(rule.rule) ||
                          (lars != nullptr && lars->weight_decay == 0);
  if (!multiplies) {
    const double sgd = rate_ * L1Norm(unclipped);
    multiplier_ = sgd > 0 ? L1Norm(delta) / sgd : 0.0;
  }

  // Section 5.1, before the weights change.
  const double weight_l1 = L1Norm(weights_);
  relative_delta_ = weight_l1 > 0 ? L1Norm(delta) / weight_l1 : 0.0;
  sgd_relative_delta_ = weight_l1 > 0 ? rate_ * L1Norm(unclipped) / weight_l1 : 0.0;

  // Section 7: "passed through a standard momentum accumulator", with dampening; Nesterov's looks
  // one such step ahead.
  std::vector<double> change(g.size());
  for (size_t i = 0; i < g.size(); ++i) {
    const double velocity = rule.mu * velocity_[i] + (1.0 - rule.dampening) * delta[i];
    velocity_[i] = Kept(rule, velocity);
    change[i] = velocity;
    if (rule.nesterov) change[i] = rule.mu * velocity + (1.0 - rule.dampening) * delta[i];
  }

  // Loshchilov and Hutter, 2019, Algorithm 2: in addition to the rule's change.
  for (size_t i = 0; i < g.size(); ++i) change[i] += rate_ * rule.weight_decay * weights_[i];

  // Equation 1's W := W - delta.
  for (size_t i = 0; i < g.size(); ++i) weights_[i] = Kept(rule, weights_[i] - change[i]);
}

}  // namespace percentdelta

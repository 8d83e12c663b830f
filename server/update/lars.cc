// SPDX-License-Identifier: Apache-2.0

// LARS: You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017; Equation
// 5 of the paper.
//
// delta = eta * gamma(t) * multiplier * (g + weight_decay * W), with the local rate of You et al.
//   multiplier = trust_coefficient * ||W||_2 / (||g||_2 + weight_decay * ||W||_2).
// With the coefficient 1 and no decay this is Equation 5. A gradient of zeros is the limit of tiny
// ones: with decay, W shrinks by eta * gamma(t) * trust_coefficient of itself. Where the divisor is
// 0 (no decay, or a tensor of zeros) the multiplier is 0: nothing changes.

#include <cmath>
#include <cstddef>

#include "common/base/vectorized.h"
#include "server/update/rule.h"

namespace percentdelta {
namespace {

void ScaleSum(double gradient_factor, double weight_factor, const float* __restrict gradient,
              const float* __restrict weights, size_t count, double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) {
    delta[i] = gradient_factor * gradient[i] + weight_factor * weights[i];
  }
}

double LocalRate(const LarsRule& spec, const NormSums& norms) {
  const double gradient = std::sqrt(norms.gradient_l2_squared);
  const double weight = std::sqrt(norms.weight_l2_squared);
  const double divisor = gradient + spec.weight_decay * weight;
  return divisor > 0 ? spec.trust_coefficient * weight / divisor : 0;
}

class LarsWithoutDecay : public ScalingRule {
 public:
  explicit LarsWithoutDecay(const LarsRule& spec) : spec_(spec) {}

  double Multiplier(const TensorContext& context) const override {
    return LocalRate(spec_, context.norms);
  }

 private:
  const LarsRule spec_;
};

class LarsWithDecay : public ElementwiseRule {
 public:
  explicit LarsWithDecay(const LarsRule& spec) : spec_(spec) {}

  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> weights, const StateSpans& /*state*/,
             absl::Span<double> delta) const override {
    const double factor = context.rate * LocalRate(spec_, context.norms);
    Vectorized<ScaleSum>(factor * context.gradient_scale, factor * spec_.weight_decay,
                         gradient.data(), weights.data(), gradient.size(), delta.data());
  }

 private:
  const LarsRule spec_;
};

}  // namespace

Rule MakeRule(const LarsRule& spec) {
  if (spec.weight_decay > 0) return std::make_unique<LarsWithDecay>(spec);
  return std::make_unique<LarsWithoutDecay>(spec);
}

}  // namespace percentdelta

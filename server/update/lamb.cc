// SPDX-License-Identifier: Apache-2.0

// LAMB: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
// 2020.
//
// Algorithm 2, with gamma(t) besides its learning rate and with Adam's t = step + 1:
//   m = beta1 * m + (1 - beta1) * g        v = beta2 * v + (1 - beta2) * g^2
//   M = m / (1 - beta1^t)                  V = v / (1 - beta2^t)
//   u = M / (sqrt(V) + epsilon) + weight_decay * W
//   delta = eta * gamma(t) * phi(||W||_2) / ||u||_2 * u
// of each tensor, where phi(z) = min(z, max_weight_norm), or z without a maximum: the paper's
// min(max(z, gamma_l), gamma_u) with gamma_l = 0. Where ||W||_2 or ||u||_2 is 0 the ratio is 1, as
// in the authors' implementation: a tensor of zeros can leave them.
//
// State: "first_moment", m, and "second_moment", v (moments.h).

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "common/base/vectorized.h"
#include "server/update/moments.h"
#include "server/update/rule.h"

namespace percentdelta {
namespace {

struct Factors {
  double first_correction;   // 1 / (1 - beta1^t)
  double second_correction;  // 1 / (1 - beta2^t)
  double epsilon;
  double weight_decay;
};

void Propose(const Moments& moments, const Factors& factors, const float* __restrict gradient,
             const float* __restrict weights, size_t count, float* __restrict first,
             float* __restrict second, double* __restrict delta) {
  const auto [beta1, beta2, gradient_scale, bound] = moments;
  const auto [first_correction, second_correction, epsilon, weight_decay] = factors;
  for (size_t i = 0; i < count; ++i) {
    const double g = gradient_scale * std::min(std::max(gradient[i], -bound), bound);
    const double m = beta1 * first[i] + (1 - beta1) * g;
    const double v = beta2 * second[i] + (1 - beta2) * (g * g);
    first[i] = static_cast<float>(m);
    second[i] = static_cast<float>(v);
    delta[i] = first_correction * m / (std::sqrt(second_correction * v) + epsilon) +
               weight_decay * weights[i];
  }
}

class Lamb : public RescaledRule {
 public:
  explicit Lamb(const LambRule& spec) : spec_(spec) {}

  std::vector<std::string> state_names() const override {
    return {"first_moment", "second_moment"};
  }

  // Proposes u.
  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> weights, const StateSpans& state,
             absl::Span<double> delta) const override {
    const Factors factors = {1 / Bias(spec_.beta1, context.step),
                             1 / Bias(spec_.beta2, context.step), spec_.epsilon,
                             spec_.weight_decay};
    Vectorized<Propose>(MakeMoments(spec_.beta1, spec_.beta2, context.gradient_scale), factors,
                        gradient.data(), weights.data(), gradient.size(), state[0].data(),
                        state[1].data(), delta.data());
  }

  double Factor(const TensorContext& context) const override {
    double weight = std::sqrt(context.norms.weight_l2_squared);
    const double proposed = std::sqrt(context.delta_norms.l2_squared);
    if (weight == 0 || proposed == 0) return context.rate;
    if (spec_.max_weight_norm > 0) weight = std::min(weight, spec_.max_weight_norm);
    return context.rate * (weight / proposed);
  }

 private:
  const LambRule spec_;
};

}  // namespace

Rule MakeRule(const LambRule& spec) { return std::make_unique<Lamb>(spec); }

}  // namespace percentdelta

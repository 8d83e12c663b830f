// SPDX-License-Identifier: Apache-2.0

// Adam: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
//
// Algorithm 1, with gamma(t) besides its step size; its t, which begins with 1, is step + 1:
//   m = beta1 * m + (1 - beta1) * g        v = beta2 * v + (1 - beta2) * g^2
//   M = m / (1 - beta1^t)                  V = v / (1 - beta2^t)
//   delta = eta * gamma * M / (sqrt(V) + epsilon)
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
  double rate;        // eta * gamma / (1 - beta1^t)
  double correction;  // 1 / (1 - beta2^t)
  double epsilon;
};

void Adapt(const Moments& moments, const Factors& factors, const float* __restrict gradient,
           size_t count, float* __restrict first, float* __restrict second,
           double* __restrict delta) {
  const auto [beta1, beta2, gradient_scale, bound] = moments;
  const auto [rate, correction, epsilon] = factors;
  for (size_t i = 0; i < count; ++i) {
    const double g = gradient_scale * std::min(std::max(gradient[i], -bound), bound);
    const double m = beta1 * first[i] + (1 - beta1) * g;
    const double v = beta2 * second[i] + (1 - beta2) * (g * g);
    first[i] = static_cast<float>(m);
    second[i] = static_cast<float>(v);
    delta[i] = rate * m / (std::sqrt(correction * v) + epsilon);
  }
}

class Adam : public ElementwiseRule {
 public:
  explicit Adam(const AdamRule& spec) : spec_(spec) {}

  std::vector<std::string> state_names() const override {
    return {"first_moment", "second_moment"};
  }

  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> /*weights*/, const StateSpans& state,
             absl::Span<double> delta) const override {
    const Factors factors = {context.rate / Bias(spec_.beta1, context.step),
                             1 / Bias(spec_.beta2, context.step), spec_.epsilon};
    Vectorized<Adapt>(MakeMoments(spec_.beta1, spec_.beta2, context.gradient_scale), factors,
                      gradient.data(), gradient.size(), state[0].data(), state[1].data(),
                      delta.data());
  }

 private:
  const AdamRule spec_;
};

}  // namespace

Rule MakeRule(const AdamRule& spec) { return std::make_unique<Adam>(spec); }

}  // namespace percentdelta

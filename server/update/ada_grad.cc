// SPDX-License-Identifier: Apache-2.0

// AdaGrad: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
// stochastic optimization", 2011; Equations 3 and 4 of the paper.
//
// Equation 3: S = S + g^2; Equation 4: delta = eta * gamma(t) * g / (sqrt(S) + epsilon), where S
// begins with the rule's initial accumulator. An entry whose divisor is 0 has never had a gradient,
// and stays.
//
// S is stored as float, and ends at FLT_MAX: from there a gradient moves its entry by
// eta * gamma(t) * g / 1.8e19, and a larger one than that by up to eta * gamma(t). The square of a
// gradient below 2^-75 (2.6e-23) is stored as 0: each such gradient counts as if it were the first.
//
// State: "accumulator", S without what it began with.

#include <cmath>
#include <cstddef>

#include "common/base/vectorized.h"
#include "server/update/rule.h"
#include "server/update/stored.h"

namespace percentdelta {
namespace {

struct Factors {
  double rate, gradient_scale, initial, epsilon;
};

void Accumulate(const Factors& factors, const float* __restrict gradient, size_t count,
                float* __restrict accumulator, double* __restrict delta) {
  const auto [rate, gradient_scale, initial, epsilon] = factors;
  for (size_t i = 0; i < count; ++i) {
    const double g = gradient_scale * gradient[i];
    const double sum = accumulator[i] + g * g;
    accumulator[i] = Stored(sum);
    const double divisor = std::sqrt(initial + sum) + epsilon;
    delta[i] = rate * g / (divisor > 0 ? divisor : 1);
  }
}

class AdaGrad : public ElementwiseRule {
 public:
  explicit AdaGrad(const AdaGradRule& spec) : spec_(spec) {}

  std::vector<std::string> state_names() const override { return {"accumulator"}; }

  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> /*weights*/, const StateSpans& state,
             absl::Span<double> delta) const override {
    Vectorized<Accumulate>(
        Factors{context.rate, context.gradient_scale, spec_.initial_accumulator, spec_.epsilon},
        gradient.data(), gradient.size(), state[0].data(), delta.data());
  }

 private:
  const AdaGradRule spec_;
};

}  // namespace

Rule MakeRule(const AdaGradRule& spec) { return std::make_unique<AdaGrad>(spec); }

}  // namespace percentdelta

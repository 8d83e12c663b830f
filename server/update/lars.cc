#include "server/update/lars.h"

#include <cmath>
#include <cstddef>

#include "server/update/vector_clones.h"

namespace percentdelta {
namespace {

PD_VECTOR_CLONES void ScaleSum(double gradient_factor, double weight_factor,
                               const float* __restrict gradient, const float* __restrict weights,
                               size_t count, double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) {
    delta[i] = gradient_factor * gradient[i] + weight_factor * weights[i];
  }
}

}  // namespace

double Lars::Multiplier(const TensorContext& context) const {
  const double gradient = std::sqrt(context.norms.gradient_l2_squared);
  const double weight = std::sqrt(context.norms.weight_l2_squared);
  const double divisor = gradient + rule_.weight_decay * weight;
  return divisor > 0 ? rule_.trust_coefficient * weight / divisor : 0;
}

void Lars::Delta(const TensorContext& context, absl::Span<const float> gradient,
                 absl::Span<const float> weights, const StateSpans& state,
                 absl::Span<double> delta) const {
  if (scales_gradient()) return Optimizer::Delta(context, gradient, weights, state, delta);
  const double factor = context.rate * Multiplier(context);
  ScaleSum(factor * context.gradient_scale, factor * rule_.weight_decay, gradient.data(),
           weights.data(), gradient.size(), delta.data());
}

}  // namespace percentdelta

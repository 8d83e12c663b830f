#include "server/update/ada_grad.h"

#include <cmath>
#include <cstddef>

#include "server/update/stored.h"
#include "server/update/vector_clones.h"

namespace percentdelta {
namespace {

struct Factors {
  double rate, gradient_scale, initial, epsilon;
};

PD_VECTOR_CLONES void Update(const Factors& factors, const float* __restrict gradient, size_t count,
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

}  // namespace

void AdaGrad::Delta(const TensorContext& context, absl::Span<const float> gradient,
                    absl::Span<const float> /*weights*/, const StateSpans& state,
                    absl::Span<double> delta) const {
  Update({context.rate, context.gradient_scale, rule_.initial_accumulator, rule_.epsilon},
         gradient.data(), gradient.size(), state[0].data(), delta.data());
}

}  // namespace percentdelta

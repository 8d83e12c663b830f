#include "server/update/adam.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "server/update/schedule.h"
#include "server/update/stored.h"
#include "server/update/vector_clones.h"

namespace percentdelta {
namespace {

// Of the clipped gradient. Its square is still a float, and so are the moments: they are means.
constexpr double kLargestGradient = 0x1p63;

struct Factors {
  double beta1, beta2, gradient_scale;
  double rate;        // eta * gamma / (1 - beta1^t)
  double correction;  // 1 / (1 - beta2^t)
  double epsilon;
};

PD_VECTOR_CLONES void Update(const Factors& factors, const float* __restrict gradient, size_t count,
                             float* __restrict first, float* __restrict second,
                             double* __restrict delta) {
  const auto [beta1, beta2, gradient_scale, rate, correction, epsilon] = factors;
  const float bound = Stored(kLargestGradient / gradient_scale);
  for (size_t i = 0; i < count; ++i) {
    const double g = gradient_scale * std::min(std::max(gradient[i], -bound), bound);
    const double m = beta1 * first[i] + (1 - beta1) * g;
    const double v = beta2 * second[i] + (1 - beta2) * (g * g);
    first[i] = static_cast<float>(m);
    second[i] = static_cast<float>(v);
    delta[i] = rate * m / (std::sqrt(correction * v) + epsilon);
  }
}

}  // namespace

void Adam::Delta(const TensorContext& context, absl::Span<const float> gradient,
                 absl::Span<const float> /*weights*/, const StateSpans& state,
                 absl::Span<double> delta) const {
  const int64_t t = context.step + 1;
  const double rate = context.rate / (1 - Power(rule_.beta1, t));
  const double correction = 1 / (1 - Power(rule_.beta2, t));
  Update({rule_.beta1, rule_.beta2, context.gradient_scale, rate, correction, rule_.epsilon},
         gradient.data(), gradient.size(), state[0].data(), state[1].data(), delta.data());
}

}  // namespace percentdelta

#include "server/update/percent_delta.h"

#include <cstddef>

#include "server/update/vector_clones.h"

namespace percentdelta {
namespace {

PD_VECTOR_CLONES void Scale(double factor, const float* __restrict gradient, size_t count,
                            double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) delta[i] = factor * gradient[i];
}

}  // namespace

double PercentDelta::Multiplier(const NormSums& norms, int64_t entries) const {
  const double mean_ratio = norms.ratio_l1 / static_cast<double>(entries);
  return mean_ratio > 0 ? 1 / mean_ratio : 0;
}

void PercentDelta::Delta(const TensorContext& context, absl::Span<const float> gradient,
                         absl::Span<double> delta) const {
  const double factor = context.rate * Multiplier(context.norms, context.entries);
  Scale(factor, gradient.data(), gradient.size(), delta.data());
}

}  // namespace percentdelta

#include "server/update/percent_delta.h"

#include <cstddef>

namespace percentdelta {

double PercentDelta::Multiplier(const NormSums& norms, int64_t entries) const {
  const double mean_ratio = norms.ratio_l1 / static_cast<double>(entries);
  return mean_ratio > 0 ? 1 / mean_ratio : 0;
}

void PercentDelta::Delta(const TensorContext& context, absl::Span<const float> gradient,
                         absl::Span<double> delta) const {
  const double factor = context.rate * Multiplier(context.norms, context.entries);
  for (size_t i = 0; i < gradient.size(); ++i) delta[i] = factor * gradient[i];
}

}  // namespace percentdelta

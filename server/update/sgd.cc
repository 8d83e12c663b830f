#include "server/update/sgd.h"

#include <cstddef>

namespace percentdelta {

double Sgd::Multiplier(const NormSums& norms, int64_t /*entries*/) const {
  return norms.gradient_l1 > 0 ? 1 : 0;
}

void Sgd::Delta(const TensorContext& context, absl::Span<const float> gradient,
                absl::Span<double> delta) const {
  for (size_t i = 0; i < gradient.size(); ++i) delta[i] = context.rate * gradient[i];
}

}  // namespace percentdelta

#include "server/update/percent_delta.h"

namespace percentdelta {

double PercentDelta::Multiplier(const TensorContext& context) const {
  const double mean_ratio = context.norms.ratio_l1 / static_cast<double>(context.entries);
  return mean_ratio > 0 ? 1 / mean_ratio : 0;
}

}  // namespace percentdelta

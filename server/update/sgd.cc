#include "server/update/sgd.h"

namespace percentdelta {

double Sgd::Multiplier(const TensorContext& context) const {
  return context.norms.gradient_l1 > 0 ? 1 : 0;
}

}  // namespace percentdelta

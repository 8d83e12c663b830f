// Stochastic gradient descent: Equation 1 of the paper.

#ifndef PERCENTDELTA_SERVER_UPDATE_SGD_H_
#define PERCENTDELTA_SERVER_UPDATE_SGD_H_

#include "server/update/optimizer.h"

namespace percentdelta {

// delta = eta * gamma(t) * g. Needs no norms; the ones that statistics show are taken with an
// epsilon that plays no part in the update.
class Sgd : public Optimizer {
 public:
  double epsilon() const override { return 1e-6; }
  double Multiplier(const NormSums& norms, int64_t entries) const override;
  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<double> delta) const override;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_SGD_H_

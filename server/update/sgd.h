// Stochastic gradient descent: Equation 1 of the paper.

#ifndef PERCENTDELTA_SERVER_UPDATE_SGD_H_
#define PERCENTDELTA_SERVER_UPDATE_SGD_H_

#include "server/update/optimizer.h"

namespace percentdelta {

// delta = eta * gamma(t) * g. Needs no norms.
class Sgd : public Optimizer {
 public:
  double Multiplier(const TensorContext& context) const override;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_SGD_H_

// PercentDelta: Abu-El-Haija, "Proportionate gradient updates with PercentDelta", 2017.

#ifndef PERCENTDELTA_SERVER_UPDATE_PERCENT_DELTA_H_
#define PERCENTDELTA_SERVER_UPDATE_PERCENT_DELTA_H_

#include "server/update/optimizer.h"

namespace percentdelta {

// Equation 6: delta = eta * gamma(t) * multiplier * g, with the multiplier of Equation 7,
//   size(W) / || g / W ||_1, the division element-wise with the epsilon of footnote 2.
// An all-zero gradient has the multiplier 0: nothing changes.
class PercentDelta : public Optimizer {
 public:
  explicit PercentDelta(double epsilon) : epsilon_(epsilon) {}

  double epsilon() const override { return epsilon_; }
  double Multiplier(const TensorContext& context) const override;

 private:
  const double epsilon_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_PERCENT_DELTA_H_

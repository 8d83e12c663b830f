// AdaGrad: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
// stochastic optimization", 2011; Equations 3 and 4 of the paper.

#ifndef PERCENTDELTA_SERVER_UPDATE_ADA_GRAD_H_
#define PERCENTDELTA_SERVER_UPDATE_ADA_GRAD_H_

#include <string>
#include <vector>

#include "server/update/optimizer.h"

namespace percentdelta {

// Equation 3: S = S + g^2; Equation 4: delta = eta * gamma(t) * g / (sqrt(S) + epsilon), where S
// begins with the rule's initial accumulator. An entry whose divisor is 0 has never had a gradient,
// and stays.
//
// S is stored as float, and ends at FLT_MAX: from there a gradient moves its entry by
// eta * gamma(t) * g / 1.8e19, and a larger one than that by up to eta * gamma(t). The square of a
// gradient below 2^-75 (2.6e-23) is stored as 0: each such gradient counts as if it were the first.
//
// State: "accumulator", S without what it began with.
class AdaGrad : public Optimizer {
 public:
  explicit AdaGrad(const AdaGradRule& rule) : rule_(rule) {}

  std::vector<std::string> state_names() const override { return {"accumulator"}; }
  bool scales_gradient() const override { return false; }
  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> weights, const StateSpans& state,
             absl::Span<double> delta) const override;

 private:
  const AdaGradRule rule_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_ADA_GRAD_H_

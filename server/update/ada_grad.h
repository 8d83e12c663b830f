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

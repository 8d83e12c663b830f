// LARS: You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017; Equation
// 5 of the paper.

#ifndef PERCENTDELTA_SERVER_UPDATE_LARS_H_
#define PERCENTDELTA_SERVER_UPDATE_LARS_H_

#include "server/update/optimizer.h"

namespace percentdelta {

// delta = eta * gamma(t) * multiplier * (g + weight_decay * W), with the local rate of You et al.
//   multiplier = trust_coefficient * ||W||_2 / (||g||_2 + weight_decay * ||W||_2).
// With the coefficient 1 and no decay this is Equation 5. A gradient of zeros is the limit of tiny
// ones: with decay, W shrinks by eta * gamma(t) * trust_coefficient of itself. Where the divisor is
// 0 (no decay, or a tensor of zeros) the multiplier is 0: nothing changes.
class Lars : public Optimizer {
 public:
  explicit Lars(const LarsRule& rule) : rule_(rule) {}

  bool scales_gradient() const override { return rule_.weight_decay == 0; }
  double Multiplier(const TensorContext& context) const override;
  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> weights, const StateSpans& state,
             absl::Span<double> delta) const override;

 private:
  const LarsRule rule_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_LARS_H_

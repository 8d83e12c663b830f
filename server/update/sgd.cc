// SPDX-License-Identifier: Apache-2.0

// Stochastic gradient descent: Equation 1 of the paper, delta = eta * gamma(t) * g. Needs no norms.

#include "server/update/rule.h"

namespace percentdelta {
namespace {

class Sgd : public ScalingRule {
 public:
  double Multiplier(const TensorContext& context) const override {
    return context.norms.gradient_l1 > 0 ? 1 : 0;
  }
};

}  // namespace

Rule MakeRule(const SgdRule& /*spec*/) { return std::make_unique<Sgd>(); }

}  // namespace percentdelta

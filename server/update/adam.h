// Adam: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.

#ifndef PERCENTDELTA_SERVER_UPDATE_ADAM_H_
#define PERCENTDELTA_SERVER_UPDATE_ADAM_H_

#include <string>
#include <vector>

#include "server/update/optimizer.h"

namespace percentdelta {

// Algorithm 1, with gamma(t) beside its step size; its t, which begins with 1, is step + 1:
//   m = beta1 * m + (1 - beta1) * g        v = beta2 * v + (1 - beta2) * g^2
//   M = m / (1 - beta1^t)                  V = v / (1 - beta2^t)
//   delta = eta * gamma * M / (sqrt(V) + epsilon)
// An entry of g beyond +-2^63 (9.2e18) counts as +-2^63: V can hold its square, and the change is
// what it is for any gradient that outweighs the moments. Where (1 - beta2) * g^2 is below the
// smallest float (g below 8e-22 under the default beta2) v is stored as 0, and epsilon alone
// divides what m still holds.
//
// State: "first_moment", m, and "second_moment", v.
class Adam : public Optimizer {
 public:
  explicit Adam(const AdamRule& rule) : rule_(rule) {}

  std::vector<std::string> state_names() const override {
    return {"first_moment", "second_moment"};
  }
  bool scales_gradient() const override { return false; }
  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> weights, const StateSpans& state,
             absl::Span<double> delta) const override;

 private:
  const AdamRule rule_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_ADAM_H_

// SPDX-License-Identifier: Apache-2.0

// PercentDelta: Abu-El-Haija, "Proportionate gradient updates with PercentDelta", 2017.
//
// Equation 6: delta = eta * gamma(t) * multiplier * g, with the multiplier of Equation 7,
//   size(W) / || g / W ||_1, the division element-wise with the epsilon of footnote 2.
// An all-zero gradient has the multiplier 0: nothing changes.

#include "server/update/rule.h"

namespace percentdelta {
namespace {

class PercentDelta : public ScalingRule {
 public:
  explicit PercentDelta(const PercentDeltaRule& spec) : spec_(spec) {}

  double epsilon() const override { return spec_.epsilon; }

  double Multiplier(const TensorContext& context) const override {
    const double mean_ratio = context.norms.ratio_l1 / static_cast<double>(context.entries);
    return mean_ratio > 0 ? 1 / mean_ratio : 0;
  }

 private:
  const PercentDeltaRule spec_;
};

}  // namespace

Rule MakeRule(const PercentDeltaRule& spec) { return std::make_unique<PercentDelta>(spec); }

}  // namespace percentdelta

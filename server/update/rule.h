// SPDX-License-Identifier: Apache-2.0

// An update rule: pure arithmetic from (g, W, norms, state) to a proposed change of W, delta. A
// rule does not know of shards, locks, clocks or threads. It implements ScalingRule,
// ElementwiseRule or RescaledRule in a file of its own, which also defines MakeRule for the rule's
// numbers (common/job/rule_spec.h). What is the same for every rule is in optimizer.h.
//
// Arithmetic is in double; what an entry keeps from step to step besides its weight is stored as
// float (stored.h). Gradients, weights and state are finite floats, denormal ones among them, and
// the job's numbers are within 1e-37..1e37: with these no rule overflows or underflows in double.

#ifndef PERCENTDELTA_SERVER_UPDATE_RULE_H_
#define PERCENTDELTA_SERVER_UPDATE_RULE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "common/job/rule_spec.h"
#include "server/update/norms.h"

namespace percentdelta {

// What an update knows of the tensor besides its entries.
struct TensorContext {
  double rate = 0;            // eta * gamma(t)
  NormSums norms;             // of the whole tensor, the gradient's after clipping
  DeltaNorms delta_norms;     // of the whole tensor; for RescaledRule::Factor alone
  int64_t entries = 0;        // of the whole tensor
  int64_t step = 0;           // t
  double gradient_scale = 1;  // what clipping multiplies every entry of the gradient by
};

// The same range of each state array of a slice, in the order of their names.
using StateSpans = absl::InlinedVector<absl::Span<float>, 2>;

// A rule whose delta is a multiple of the gradient. Stateless and thread-safe, as all rules are.
class ScalingRule {
 public:
  virtual ~ScalingRule() = default;

  // Epsilon of NormSums::ratio_l1, > 0. Rules that do not use that norm keep the default.
  virtual double epsilon() const { return 1e-6; }

  // The factor of the clipped gradient: delta = rate * Multiplier * gradient_scale * g. Returns 0
  // for an all-zero gradient.
  virtual double Multiplier(const TensorContext& context) const = 0;
};

// A rule that computes a delta for each entry; one of the two kinds below.
class DeltaRule {
 public:
  virtual ~DeltaRule() = default;

  // The arrays that the rule keeps, one float an entry, all zero before the first step.
  virtual std::vector<std::string> state_names() const { return {}; }

  // Writes the delta of a range of entries to `delta` and updates `state`, whose first arrays are
  // state_names(). Spans are of one size; the gradient is unclipped (context.gradient_scale). An
  // entry's result must not depend on the range.
  virtual void Delta(const TensorContext& context, absl::Span<const float> gradient,
                     absl::Span<const float> weights, const StateSpans& state,
                     absl::Span<double> delta) const = 0;
};

// A rule whose Delta is applied as it is.
class ElementwiseRule : public DeltaRule {};

// A rule that needs norms of its own delta before it is applied: Delta proposes, and what is
// applied is Factor times that. Delta is called twice a step with equal arguments: for the norms,
// with a copy of the state, and to be applied.
class RescaledRule : public DeltaRule {
 public:
  // With context.delta_norms at hand. Finite.
  virtual double Factor(const TensorContext& context) const = 0;
};

using Rule =
    std::variant<std::unique_ptr<const ScalingRule>, std::unique_ptr<const ElementwiseRule>,
                 std::unique_ptr<const RescaledRule>>;

// Each in the rule's own file.
Rule MakeRule(const PercentDeltaRule& spec);
Rule MakeRule(const SgdRule& spec);
Rule MakeRule(const AdaGradRule& spec);
Rule MakeRule(const AdamRule& spec);
Rule MakeRule(const LarsRule& spec);
Rule MakeRule(const LambRule& spec);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_RULE_H_

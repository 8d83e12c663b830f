// SPDX-License-Identifier: Apache-2.0

// The update of a tensor: what stands around a rule (rule.h), the same for all of them.
//
// A step of a tensor is
//   phase 1:  the norms of all its blocks (BlockNorms), from which MakeTensorContext derives what
//             every entry has to know;
//   proposal: only for rules that need norms of their own delta: the norms of the proposed deltas
//             of all its blocks (ProposedNorms), which go into the context, too;
//   phase 2:  for every entry (UpdateEntries)
//               delta = the rule's                       (Optimizer::Delta)
//               v     = mu * v + (1 - dampening) * delta (and the other stages: stages.h)
//               W     = W - v
// in double. What an entry keeps from step to step besides its weight is stored as float, in arrays
// that have a name each (StateNames). What is stored ends at +-FLT_MAX (stored.h), so no weight and
// no state is ever infinite or NaN. A diverging training shows as weights there, of which workers
// compute losses that are not finite.

#ifndef PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_
#define PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/job/job.h"
#include "server/update/norms.h"
#include "server/update/rule.h"

namespace percentdelta {

// A rule of any kind. Stateless and thread-safe.
class Optimizer {
 public:
  explicit Optimizer(Rule rule);

  // Where ||delta||_1, which the statistics show, comes from.
  enum class DeltaL1 {
    kOfGradient,  // delta is a multiple of the gradient
    kBefore,      // from the norms of the proposed delta, which are needed before it is applied
    kAfter,       // summed while the delta is applied (UpdateEntries)
  };
  DeltaL1 delta_l1() const { return delta_l1_; }

  // Whether a step has a proposal.
  bool needs_delta_norms() const { return delta_l1_ == DeltaL1::kBefore; }

  // Of the norms in phase 1.
  double epsilon() const;

  // The rule's own arrays.
  std::vector<std::string> state_names() const;

  // What the unclipped gradient is multiplied by besides the rate. For DeltaL1::kOfGradient alone.
  double Multiplier(const TensorContext& context) const;

  // The proposed delta of a range of entries, and the factor that it is applied with: 1, if the
  // rule needs no norms of its delta. `state`, whose first arrays are state_names(), is updated.
  void Delta(const TensorContext& context, absl::Span<const float> gradient,
             absl::Span<const float> weights, const StateSpans& state,
             absl::Span<double> delta) const;
  double Factor(const TensorContext& context) const;

 private:
  const Rule rule_;
  const ScalingRule* scaling_ = nullptr;  // of these two, one
  const DeltaRule* elementwise_ = nullptr;
  const RescaledRule* rescaled_ = nullptr;  // null: the rule does not rescale its delta
  DeltaL1 delta_l1_ = DeltaL1::kOfGradient;
};

std::unique_ptr<Optimizer> MakeOptimizer(const UpdateRule& rule);

// The arrays that the job's update keeps of every trained tensor, one float an entry, all zero
// before the first step; weights and these are the whole state of a training. The rule's own, then
// "velocity", the v of jobs with momentum. A buffer has none.
std::vector<std::string> StateNames(const Job& job);
std::vector<std::string> StateNames(const Job& job, const TensorSpec& tensor);

StateSpans StateRange(absl::Span<std::vector<float>> arrays, int64_t begin, int64_t count);

// Of a tensor of `entries` with these norms (of all of it) at `step`.
TensorContext MakeTensorContext(const Job& job, int64_t step, int64_t entries,
                                const NormSums& norms);

// The proposal over a block, for optimizers that need its norms. `state` is only read. The result
// is a function of the arguments alone, to the bit.
DeltaNorms ProposedNorms(const Optimizer& optimizer, const TensorContext& context,
                         absl::Span<const float> gradient, absl::Span<const float> weights,
                         const StateSpans& state);

// Phase 2 over a range of entries: writes their weights after the step to `next` and updates
// `state`. `next` may be the gradient's own memory. Returns the sum of |delta| over the range for
// DeltaL1::kAfter, the same bits whenever the range is the same; 0 otherwise.
double UpdateEntries(const Optimizer& optimizer, const Job& job, const TensorContext& context,
                     absl::Span<const float> gradient, absl::Span<const float> weights,
                     const StateSpans& state, absl::Span<float> next);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_

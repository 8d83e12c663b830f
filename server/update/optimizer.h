// An update rule: pure arithmetic from (g, W, norms, state) to a proposed change of W. It knows of
// no shards, locks, clocks or threads; a new rule is a new file in this folder and a case in
// MakeOptimizer.
//
// A step of a tensor is: norms of all its blocks (norms.h), from which UpdateContext makes what
// every entry has to know; then for every entry (UpdateEntries)
//   delta = the rule's                                    (Optimizer::Delta)
//   v     = mu * v + (1 - dampening) * delta              (the stages around it: stages.h)
//   W     = W - v
// in double. What an entry keeps from step to step beside its weight is stored as float, in arrays
// that have a name each (StateNames).
//
// At the ends of the range of float: gradients, weights and state are finite floats, denormal ones
// among them, and the job's numbers are of float's range, too (ValidateJob). With those
// nothing here overflows or underflows in double, where norms, multipliers and delta are computed:
// all are finite, and only the rounding to float at the end of a step can lose anything. What is
// stored ends at +-FLT_MAX (stored.h), so that no weight and no state is ever infinite or NaN. A
// training that diverges shows as weights there, of which workers compute losses that are not
// finite.

#ifndef PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_
#define PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "common/job/job.h"
#include "server/update/norms.h"

namespace percentdelta {

// What an update knows of the tensor beside its entries.
struct TensorContext {
  double rate = 0;            // eta * gamma(t)
  NormSums norms;             // of the whole tensor, the gradient's after clipping
  int64_t entries = 0;        // of the whole tensor
  int64_t step = 0;           // t
  double gradient_scale = 1;  // what clipping multiplies every entry of the gradient by
};

// The same range of each state array of a slice, in the order of their names.
using StateSpans = absl::InlinedVector<absl::Span<float>, 2>;

// Stateless and thread-safe.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // The epsilon > 0 of the norms that the rule wants (norms.h). Most want none that has one.
  virtual double epsilon() const { return 1e-6; }

  // The arrays that the rule keeps, one float an entry, all zero before the first step.
  virtual std::vector<std::string> state_names() const { return {}; }

  // Whether delta is a multiple of the gradient. Where it is not, the L1 norm of delta that the
  // statistics show is summed entry by entry.
  virtual bool scales_gradient() const { return true; }

  // Of rules that scale the gradient: the factor of the clipped gradient, so that
  // delta = rate * Multiplier * gradient_scale * g. 0 for an all-zero gradient.
  virtual double Multiplier(const TensorContext& /*context*/) const { return 0; }

  // Proposes the change of a range of entries, into `delta`, and takes them into `state`, whose
  // first arrays are state_names(). Spans are of one size; the gradient is as it came, unclipped.
  // As it stands here: the multiple of the gradient.
  virtual void Delta(const TensorContext& context, absl::Span<const float> gradient,
                     absl::Span<const float> weights, const StateSpans& state,
                     absl::Span<double> delta) const;
};

std::unique_ptr<Optimizer> MakeOptimizer(const UpdateRule& rule);

// The arrays that the job's update keeps of every tensor, one float an entry, all zero before the
// first step; weights and these are the whole state of a training. The rule's own, then "velocity",
// the v of jobs with momentum.
std::vector<std::string> StateNames(const Job& job);

StateSpans StateRange(absl::Span<std::vector<float>> arrays, int64_t begin, int64_t count);

// Of a tensor with so many entries and these norms (of all of it) at `step`.
TensorContext UpdateContext(const Job& job, int64_t step, int64_t entries, const NormSums& norms);

// Phase 2 over a range of entries: their weights after the step into `next`; `state` is changed.
// Returns the sum of |delta| over the range, the same bits whenever the range is the same; 0 for a
// rule that scales the gradient.
double UpdateEntries(const Optimizer& optimizer, const Job& job, const TensorContext& context,
                     absl::Span<const float> gradient, absl::Span<const float> weights,
                     const StateSpans& state, absl::Span<float> next);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_

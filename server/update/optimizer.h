// An update rule: pure arithmetic from (g, W, norms) to a proposed change of W. It knows of no
// shards, locks, clocks or threads; a new rule is a new file in this folder and a case in
// MakeOptimizer.
//
// A step of a tensor is: norms of all its blocks (norms.h), then for every entry
//   delta = the rule's, from the whole tensor's norms     (Optimizer::Delta)
//   v     = mu * v + (1 - dampening) * delta              (UpdateEntries)
//   W     = W - v
// in double, W and v stored as float.

#ifndef PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_
#define PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_

#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "common/job.h"
#include "server/update/norms.h"

namespace percentdelta {

// What an update knows of the tensor beside its entries.
struct TensorContext {
  double rate = 0;  // eta * gamma(t)
  NormSums norms;   // of the whole tensor
  int64_t entries = 0;
};

// Stateless and thread-safe.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // The epsilon > 0 of the norms that the rule wants (norms.h).
  virtual double epsilon() const = 0;

  // The factor that makes delta = rate * multiplier * g; reported in the statistics.
  virtual double Multiplier(const NormSums& norms, int64_t entries) const = 0;

  // Proposes the change of a range of entries, into `delta`. Spans are of one size.
  virtual void Delta(const TensorContext& context, absl::Span<const float> gradient,
                     absl::Span<double> delta) const = 0;
};

std::unique_ptr<Optimizer> MakeOptimizer(const UpdateRule& rule);

// Phase 2 over a range of entries: next = weights - v, and v is kept in `velocity`. With a
// coefficient of 0 and no dampening v = delta. `velocity` may be empty in
// that case alone.
void UpdateEntries(const Optimizer& optimizer, const MomentumSpec& momentum,
                   const TensorContext& context, absl::Span<const float> gradient,
                   absl::Span<const float> weights, absl::Span<float> velocity,
                   absl::Span<float> next);

// gamma(t) = max(floor, 1 - t * slope): Equations 9 (floor = 0) and 10 of the paper.
double Decay(const ScheduleSpec& schedule, int64_t step);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_OPTIMIZER_H_

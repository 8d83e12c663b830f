#include "server/update/optimizer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <variant>

#include "server/update/ada_grad.h"
#include "server/update/adam.h"
#include "server/update/lars.h"
#include "server/update/percent_delta.h"
#include "server/update/schedule.h"
#include "server/update/sgd.h"
#include "server/update/stages.h"
#include "server/update/vector_clones.h"

namespace percentdelta {
namespace {

// Entries whose deltas are held at a time: small enough for the first cache. A multiple of
// MagnitudeSum's lanes.
constexpr size_t kPiece = 1024;

PD_VECTOR_CLONES void Scale(double factor, const float* __restrict gradient, size_t count,
                            double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) delta[i] = factor * gradient[i];
}

std::unique_ptr<Optimizer> Make(const PercentDeltaRule& rule) {
  return std::make_unique<PercentDelta>(rule.epsilon);
}
std::unique_ptr<Optimizer> Make(const SgdRule& /*rule*/) { return std::make_unique<Sgd>(); }
std::unique_ptr<Optimizer> Make(const AdaGradRule& rule) { return std::make_unique<AdaGrad>(rule); }
std::unique_ptr<Optimizer> Make(const AdamRule& rule) { return std::make_unique<Adam>(rule); }
std::unique_ptr<Optimizer> Make(const LarsRule& rule) { return std::make_unique<Lars>(rule); }

}  // namespace

void Optimizer::Delta(const TensorContext& context, absl::Span<const float> gradient,
                      absl::Span<const float> /*weights*/, const StateSpans& /*state*/,
                      absl::Span<double> delta) const {
  const double factor = context.rate * Multiplier(context) * context.gradient_scale;
  Scale(factor, gradient.data(), gradient.size(), delta.data());
}

std::unique_ptr<Optimizer> MakeOptimizer(const UpdateRule& rule) {
  return std::visit([](const auto& kind) { return Make(kind); }, rule);
}

std::vector<std::string> StateNames(const Job& job) {
  std::vector<std::string> names = MakeOptimizer(job.optimizer.rule)->state_names();
  if (job.momentum.any()) names.emplace_back("velocity");
  return names;
}

StateSpans StateRange(absl::Span<std::vector<float>> arrays, int64_t begin, int64_t count) {
  StateSpans range;
  for (std::vector<float>& array : arrays) {
    range.push_back(absl::MakeSpan(array).subspan(begin, count));
  }
  return range;
}

TensorContext UpdateContext(const Job& job, int64_t step, int64_t entries, const NormSums& norms) {
  TensorContext context;
  context.rate = job.optimizer.learning_rate * Gamma(job.schedule, step);
  context.entries = entries;
  context.step = step;
  if (job.gradient_clipping) context.gradient_scale = ClippingScale(*job.gradient_clipping, norms);
  context.norms = ScaleGradient(norms, context.gradient_scale);
  return context;
}

double UpdateEntries(const Optimizer& optimizer, const Job& job, const TensorContext& context,
                     absl::Span<const float> gradient, absl::Span<const float> weights,
                     const StateSpans& state, absl::Span<float> next) {
  std::array<double, kPiece> buffer;
  const bool sums_delta = !optimizer.scales_gradient();
  MagnitudeSum delta_l1;
  for (size_t begin = 0; begin < gradient.size(); begin += kPiece) {
    const size_t count = std::min(kPiece, gradient.size() - begin);
    const absl::Span<double> delta(buffer.data(), count);
    const absl::Span<const float> before = weights.subspan(begin, count);
    const absl::Span<float> after = next.subspan(begin, count);
    StateSpans piece;
    for (const absl::Span<float> array : state) piece.push_back(array.subspan(begin, count));
    optimizer.Delta(context, gradient.subspan(begin, count), before, piece, delta);
    if (sums_delta) delta_l1.Add(delta);
    if (job.momentum.any() && !job.momentum.nesterov && !job.weight_decay) {
      MoveByVelocity(job.momentum, delta, before, piece.back(), after);
      continue;
    }
    if (job.momentum.any()) ApplyMomentum(job.momentum, piece.back(), delta);
    if (job.weight_decay) AddWeightDecay(context.rate * job.weight_decay->rate, before, delta);
    Move(delta, before, after);
  }
  return delta_l1.Total();
}

}  // namespace percentdelta

#include "server/update/optimizer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <variant>

#include "server/update/percent_delta.h"
#include "server/update/sgd.h"
#include "server/update/vector_clones.h"

namespace percentdelta {
namespace {

// Entries whose deltas are held at a time: small enough for the first cache.
constexpr size_t kPiece = 1024;

PD_VECTOR_CLONES void MoveByDelta(const double* __restrict delta, size_t count,
                                  const float* __restrict weights, float* __restrict next) {
  for (size_t i = 0; i < count; ++i) next[i] = static_cast<float>(weights[i] - delta[i]);
}

PD_VECTOR_CLONES void MoveByVelocity(double keep, double take, const double* __restrict delta,
                                     size_t count, const float* __restrict weights,
                                     float* __restrict velocity, float* __restrict next) {
  for (size_t i = 0; i < count; ++i) {
    const double v = keep * velocity[i] + take * delta[i];
    velocity[i] = static_cast<float>(v);
    next[i] = static_cast<float>(weights[i] - v);
  }
}

}  // namespace

std::unique_ptr<Optimizer> MakeOptimizer(const UpdateRule& rule) {
  if (const auto* percent_delta = std::get_if<PercentDeltaRule>(&rule)) {
    return std::make_unique<PercentDelta>(percent_delta->epsilon);
  }
  return std::make_unique<Sgd>();
}

void UpdateEntries(const Optimizer& optimizer, const MomentumSpec& momentum,
                   const TensorContext& context, absl::Span<const float> gradient,
                   absl::Span<const float> weights, absl::Span<float> velocity,
                   absl::Span<float> next) {
  std::array<double, kPiece> buffer;
  const bool plain = momentum.coefficient == 0 && momentum.dampening == 0;
  for (size_t begin = 0; begin < gradient.size(); begin += kPiece) {
    const size_t count = std::min(kPiece, gradient.size() - begin);
    const absl::Span<double> delta(buffer.data(), count);
    optimizer.Delta(context, gradient.subspan(begin, count), delta);
    if (plain) {
      MoveByDelta(delta.data(), count, weights.data() + begin, next.data() + begin);
    } else {
      MoveByVelocity(momentum.coefficient, 1 - momentum.dampening, delta.data(), count,
                     weights.data() + begin, velocity.data() + begin, next.data() + begin);
    }
  }
}

double Decay(const ScheduleSpec& schedule, int64_t step) {
  return std::max(schedule.floor, 1 - static_cast<double>(step) * schedule.slope);
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/update/stages.h"

#include <cmath>
#include <cstddef>

#include "common/base/vectorized.h"
#include "server/update/stored.h"

namespace percentdelta {
namespace {

void Accumulate(double mu, double take, float* __restrict velocity, size_t count,
                double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) {
    const double v = mu * velocity[i] + take * delta[i];
    velocity[i] = Stored(v);
    delta[i] = v;
  }
}

void AccumulateAhead(double mu, double take, float* __restrict velocity, size_t count,
                     double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) {
    const double taken = take * delta[i];
    const double v = mu * velocity[i] + taken;
    velocity[i] = Stored(v);
    delta[i] = mu * v + taken;
  }
}

void AddScaled(double factor, const float* __restrict weights, size_t count,
               double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) delta[i] += factor * weights[i];
}

void Subtract(const double* __restrict delta, size_t count, const float* __restrict weights,
              float* __restrict next) {
  for (size_t i = 0; i < count; ++i) next[i] = Stored(weights[i] - delta[i]);
}

void AccumulateAndSubtract(double mu, double take, const double* __restrict delta, size_t count,
                           const float* __restrict weights, float* __restrict velocity,
                           float* __restrict next) {
  for (size_t i = 0; i < count; ++i) {
    const double v = mu * velocity[i] + take * delta[i];
    velocity[i] = Stored(v);
    next[i] = Stored(weights[i] - v);
  }
}

}  // namespace

double ClippingScale(const GradientClippingSpec& clipping, const NormSums& norms) {
  const double length = std::sqrt(norms.gradient_l2_squared);
  return length > clipping.norm ? clipping.norm / length : 1;
}

NormSums ScaleGradient(const NormSums& norms, double scale) {
  NormSums scaled = norms;
  scaled.ratio_l1 *= scale;
  scaled.gradient_l1 *= scale;
  scaled.gradient_l2_squared *= scale * scale;
  return scaled;
}

void ApplyMomentum(const MomentumSpec& momentum, absl::Span<float> velocity,
                   absl::Span<double> delta) {
  const double take = 1 - momentum.dampening;
  if (momentum.nesterov) {
    Vectorized<AccumulateAhead>(momentum.coefficient, take, velocity.data(), delta.size(),
                                delta.data());
  } else {
    Vectorized<Accumulate>(momentum.coefficient, take, velocity.data(), delta.size(), delta.data());
  }
}

void AddWeightDecay(double factor, absl::Span<const float> weights, absl::Span<double> delta) {
  Vectorized<AddScaled>(factor, weights.data(), delta.size(), delta.data());
}

void Move(absl::Span<const double> delta, absl::Span<const float> weights, absl::Span<float> next) {
  Vectorized<Subtract>(delta.data(), delta.size(), weights.data(), next.data());
}

void MoveByVelocity(const MomentumSpec& momentum, absl::Span<const double> delta,
                    absl::Span<const float> weights, absl::Span<float> velocity,
                    absl::Span<float> next) {
  Vectorized<AccumulateAndSubtract>(momentum.coefficient, 1 - momentum.dampening, delta.data(),
                                    delta.size(), weights.data(), velocity.data(), next.data());
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// The optional stages around an update rule, in their order: the gradient is clipped, the rule
// computes delta, momentum is applied, decoupled weight decay is added, and the weights move. Pure
// arithmetic, in double; velocity and weights are stored as in stored.h. Spans are of one size.

#ifndef PERCENTDELTA_SERVER_UPDATE_STAGES_H_
#define PERCENTDELTA_SERVER_UPDATE_STAGES_H_

#include "absl/types/span.h"
#include "common/job/update_spec.h"
#include "server/update/norms.h"

namespace percentdelta {

// Clipping by norm: returns the factor of a tensor's gradient g, min(1, norm / ||g||_2) (Pascanu,
// Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013,
// Algorithm 1); 1 for a gradient of zeros.
double ClippingScale(const GradientClippingSpec& clipping, const NormSums& norms);

// Returns the norms of the gradient times `scale` >= 0, and of the unchanged weights.
NormSums ScaleGradient(const NormSums& norms, double scale);

// v = mu * v + (1 - dampening) * delta, and delta becomes the new v; with Nesterov's look ahead
// mu * v + (1 - dampening) * delta with that v (Sutskever et al., "On the importance of
// initialization and momentum in deep learning", 2013, in the form that reads the gradient where
// the weights are).
void ApplyMomentum(const MomentumSpec& momentum, absl::Span<float> velocity,
                   absl::Span<double> delta);

// Decoupled weight decay: delta += factor * W, the factor being eta * gamma(t) * the decay's rate
// (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, Algorithms 1 and 2; eta is
// in the factor as in PyTorch's AdamW).
void AddWeightDecay(double factor, absl::Span<const float> weights, absl::Span<double> delta);

// next = W - delta.
void Move(absl::Span<const double> delta, absl::Span<const float> weights, absl::Span<float> next);

// ApplyMomentum without Nesterov's look ahead, and Move, in one pass: what most jobs need.
void MoveByVelocity(const MomentumSpec& momentum, absl::Span<const double> delta,
                    absl::Span<const float> weights, absl::Span<float> velocity,
                    absl::Span<float> next);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_STAGES_H_

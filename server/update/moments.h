// SPDX-License-Identifier: Apache-2.0

// The moments of the gradient that Adam and LAMB keep of every entry.

#ifndef PERCENTDELTA_SERVER_UPDATE_MOMENTS_H_
#define PERCENTDELTA_SERVER_UPDATE_MOMENTS_H_

#include <cstdint>

#include "server/update/schedule.h"
#include "server/update/stored.h"

namespace percentdelta {

// m = beta1 * m + (1 - beta1) * g  and  v = beta2 * v + (1 - beta2) * g^2,
// of g = gradient_scale * (the gradient within +-bound).
//
// An entry of the clipped gradient beyond +-2^63 (9.2e18) counts as +-2^63: v can hold its square,
// and the change is what it is for any gradient that outweighs the moments. Moments are means, so
// they are finite floats like these. Where (1 - beta2) * g^2 is below the smallest float (g below
// 8e-22 under the default beta2) v is stored as 0, and epsilon alone divides what m still holds.
struct Moments {
  double beta1, beta2, gradient_scale;
  float bound;
};

inline Moments MakeMoments(double beta1, double beta2, double gradient_scale) {
  constexpr double kLargestGradient = 0x1p63;
  return {beta1, beta2, gradient_scale, Stored(kLargestGradient / gradient_scale)};
}

// What a moment of `step` is divided by to correct the bias of its initial zero.
inline double Bias(double beta, int64_t step) { return 1 - Power(beta, step + 1); }

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_MOMENTS_H_

// SPDX-License-Identifier: Apache-2.0

// gamma(t): how the learning rate changes during the training.

#ifndef PERCENTDELTA_SERVER_UPDATE_SCHEDULE_H_
#define PERCENTDELTA_SERVER_UPDATE_SCHEDULE_H_

#include <cstdint>

#include "common/job/update_spec.h"

namespace percentdelta {

// Returns base^exponent by repeated squaring, exponent >= 0: the same bits on every processor,
// which the C library's pow() does not guarantee.
double Power(double base, int64_t exponent);

// Returns gamma at `step` >= 0, times min(1, (step + 1) / warmup_steps) if there is a warm-up.
//   constant  1
//   linear    max(floor, 1 - step * slope): Equations 9 (floor = 0) and 10 of the paper
//   step      factor^floor(step / every_steps)
//   cosine    floor + (1 - floor) * (1 + cos(pi * min(step, steps) / steps)) / 2: Loshchilov and
//             Hutter, "SGDR", 2017, Equation 5, one period
double Gamma(const ScheduleSpec& schedule, int64_t step);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_SCHEDULE_H_

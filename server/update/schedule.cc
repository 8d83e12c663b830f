// SPDX-License-Identifier: Apache-2.0

#include "server/update/schedule.h"

#include <algorithm>
#include <numbers>
#include <variant>

namespace percentdelta {
namespace {

// For 0 <= x <= pi/2, by Taylor's series; the last term is below 2^-70. The last bit of the C
// library's cos() depends on the processor.
double Cosine(double x) {
  constexpr int kTerms = 13;
  double sum = 1;
  for (int n = kTerms; n > 0; --n) sum = 1 - x * x / (2 * n * (2 * n - 1)) * sum;
  return sum;
}

double Decay(const ConstantRate& /*decay*/, int64_t /*step*/) { return 1; }

double Decay(const LinearDecay& decay, int64_t step) {
  return std::max(decay.floor, 1 - static_cast<double>(step) * decay.slope);
}

double Decay(const StepDecay& decay, int64_t step) {
  return Power(decay.factor, step / decay.every_steps);
}

// (1 + cos(x)) / 2 = cos(x / 2)^2.
double Decay(const CosineDecay& decay, int64_t step) {
  if (step >= decay.steps) return decay.floor;
  const double part = static_cast<double>(step) / static_cast<double>(decay.steps);
  const double half = Cosine(part * (std::numbers::pi / 2));
  return decay.floor + (1 - decay.floor) * (half * half);
}

}  // namespace

double Power(double base, int64_t exponent) {
  double power = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) power *= base;
    base *= base;
  }
  return power;
}

double Gamma(const ScheduleSpec& schedule, int64_t step) {
  const double gamma =
      std::visit([step](const auto& decay) { return Decay(decay, step); }, schedule.decay);
  if (step + 1 >= schedule.warmup_steps) return gamma;
  return gamma * (static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps));
}

}  // namespace percentdelta

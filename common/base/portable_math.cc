// SPDX-License-Identifier: Apache-2.0

#include "common/base/portable_math.h"

#include <cmath>

namespace percentdelta {
namespace {

// ln 2 in two parts: multiples of the first by small integers are exact.
constexpr double kLn2High = 0x1.62e42feep-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kLog2E = 0x1.71547652b82fep+0;
constexpr double kSqrtHalf = 0x1.6a09e667f3bcdp-1;

constexpr double kSmallestExponent = -745;  // exp of less rounds to 0

}  // namespace

double PortableExp(double x) {
  if (x < kSmallestExponent) return 0;
  if (std::isnan(x)) return x;
  // exp(x) = 2^n exp(r), |r| <= ln(2) / 2, by the Taylor series.
  const double n = std::floor(x * kLog2E + 0.5);
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1;
  for (int k = 14; k >= 1; --k) sum = 1 + sum * r / k;
  return std::ldexp(sum, static_cast<int>(n));
}

double PortableLog(double x) {
  if (!(x > 0) || !std::isfinite(x)) return std::nan("");
  // x = 2^n m, log(m) = 2 atanh(f), f = (m - 1) / (m + 1), |f| <= 0.172.
  int n = 0;
  double m = std::frexp(x, &n);
  if (m < kSqrtHalf) {
    m *= 2;
    --n;
  }
  const double f = (m - 1) / (m + 1);
  const double square = f * f;
  double sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return n * kLn2High + (n * kLn2Low + 2 * f * sum);
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/update/norms.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/base/isa.h"
#include "common/base/vectorized.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace percentdelta {
namespace {

constexpr size_t kLanes = 8;

// Eight lanes, in however many registers they take.
using Floats __attribute__((vector_size(kLanes * sizeof(float)))) = float;
using FloatBits __attribute__((vector_size(kLanes * sizeof(float)))) = int32_t;
using DoubleBits __attribute__((vector_size(kLanes * sizeof(double)))) = int64_t;
using Doubles __attribute__((vector_size(kLanes * sizeof(double)))) = double;

// The sums over entries, lane by lane.
struct Lanes {
  Doubles ratio, gradient_l1, weight_l1, gradient_l2, weight_l2;
};

#define PD_INLINE inline __attribute__((always_inline))

PD_INLINE void AddGroup(const Doubles& g, const Doubles& w, double epsilon, Lanes& sum) {
  sum.ratio += g / (w + epsilon);
  sum.gradient_l1 += g;
  sum.weight_l1 += w;
  sum.gradient_l2 += g * g;
  sum.weight_l2 += w * w;
}

// Vectors are passed by reference: the way by value depends on the instruction set.
PD_INLINE void Magnitudes(const float* values, Floats& magnitudes) {
  FloatBits bits;
  std::memcpy(&bits, values, sizeof(bits));
  bits &= 0x7fffffff;
  magnitudes = (Floats)bits;  // this cast keeps the bits
}

void AddEntriesByCompiler(const float* gradient, const float* weights, size_t groups,
                          double epsilon, Lanes* lanes) {
  Lanes sum = *lanes;
  for (size_t group = 0; group < groups; ++group) {
    Floats g;
    Floats w;
    Magnitudes(gradient + group * kLanes, g);
    Magnitudes(weights + group * kLanes, w);
    AddGroup(__builtin_convertvector(g, Doubles), __builtin_convertvector(w, Doubles), epsilon,
             sum);
  }
  *lanes = sum;
}

#if defined(__x86_64__)
// An intrinsic, because g++ 12 widens eight floats in two halves. (It warns about the unmasked
// one.)
[[gnu::target("avx512f")]] void AddEntriesWithAvx512(const float* gradient, const float* weights,
                                                     size_t groups, double epsilon, Lanes* lanes) {
  constexpr __mmask8 kAll = 0xff;
  Lanes sum = *lanes;
  for (size_t group = 0; group < groups; ++group) {
    Floats g;
    Floats w;
    Magnitudes(gradient + group * kLanes, g);
    Magnitudes(weights + group * kLanes, w);
    AddGroup((Doubles)_mm512_maskz_cvtps_pd(kAll, (__m256)g),
             (Doubles)_mm512_maskz_cvtps_pd(kAll, (__m256)w), epsilon, sum);
  }
  *lanes = sum;
}
#endif

void AddEntries(const float* gradient, const float* weights, size_t groups, double epsilon,
                Lanes* lanes) {
#if defined(__x86_64__)
  if (CurrentIsa() == Isa::kX86_64V4) {
    AddEntriesWithAvx512(gradient, weights, groups, epsilon, lanes);
    return;
  }
#endif
  Vectorized<AddEntriesByCompiler>(gradient, weights, groups, epsilon, lanes);
}

void AddMagnitudes(const double* values, size_t groups, double* lanes) {
  Doubles sum;
  std::memcpy(&sum, lanes, sizeof(sum));
  for (size_t group = 0; group < groups; ++group) {
    DoubleBits bits;
    std::memcpy(&bits, values + group * kLanes, sizeof(bits));
    bits &= 0x7fffffffffffffff;
    sum += (Doubles)bits;  // this cast keeps the bits
  }
  std::memcpy(lanes, &sum, sizeof(sum));
}

void AddMagnitudesAndSquares(const double* values, size_t groups, double* l1, double* l2_squared) {
  Doubles magnitudes;
  Doubles squares;
  std::memcpy(&magnitudes, l1, sizeof(magnitudes));
  std::memcpy(&squares, l2_squared, sizeof(squares));
  for (size_t group = 0; group < groups; ++group) {
    Doubles value;
    std::memcpy(&value, values + group * kLanes, sizeof(value));
    DoubleBits bits = (DoubleBits)value;
    bits &= 0x7fffffffffffffff;
    magnitudes += (Doubles)bits;
    squares += value * value;
  }
  std::memcpy(l1, &magnitudes, sizeof(magnitudes));
  std::memcpy(l2_squared, &squares, sizeof(squares));
}

template <typename Lane>
double AddLanes(const Lane& lane) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace

NormSums& NormSums::operator+=(const NormSums& other) {
  ratio_l1 += other.ratio_l1;
  gradient_l1 += other.gradient_l1;
  weight_l1 += other.weight_l1;
  gradient_l2_squared += other.gradient_l2_squared;
  weight_l2_squared += other.weight_l2_squared;
  return *this;
}

DeltaNorms& DeltaNorms::operator+=(const DeltaNorms& other) {
  l1 += other.l1;
  l2_squared += other.l2_squared;
  return *this;
}

NormSums BlockNorms(absl::Span<const float> gradient, absl::Span<const float> weights,
                    double epsilon) {
  Lanes lanes = {};
  const size_t groups = gradient.size() / kLanes;
  AddEntries(gradient.data(), weights.data(), groups, epsilon, &lanes);
  // The rest, padded with entries that add 0.
  const size_t whole = groups * kLanes;
  float last_gradient[kLanes] = {};
  float last_weights[kLanes] = {};
  std::copy(gradient.begin() + whole, gradient.end(), last_gradient);
  std::copy(weights.begin() + whole, weights.end(), last_weights);
  AddEntries(last_gradient, last_weights, 1, epsilon, &lanes);
  return {AddLanes(lanes.ratio), AddLanes(lanes.gradient_l1), AddLanes(lanes.weight_l1),
          AddLanes(lanes.gradient_l2), AddLanes(lanes.weight_l2)};
}

void MagnitudeSum::Add(absl::Span<const double> piece) {
  const size_t groups = piece.size() / kLanes;
  Vectorized<AddMagnitudes>(piece.data(), groups, lanes_);
  for (size_t i = groups * kLanes; i < piece.size(); ++i) lanes_[i % kLanes] += std::fabs(piece[i]);
}

double MagnitudeSum::Total() const { return AddLanes(lanes_); }

void DeltaNormSum::Add(absl::Span<const double> piece) {
  const size_t groups = piece.size() / kLanes;
  Vectorized<AddMagnitudesAndSquares>(piece.data(), groups, l1_, l2_squared_);
  for (size_t i = groups * kLanes; i < piece.size(); ++i) {
    l1_[i % kLanes] += std::fabs(piece[i]);
    l2_squared_[i % kLanes] += piece[i] * piece[i];
  }
}

DeltaNorms DeltaNormSum::Total() const { return {AddLanes(l1_), AddLanes(l2_squared_)}; }

NormSums AddBlocks(absl::Span<const NormSums> blocks) {
  NormSums sums;
  for (const NormSums& block : blocks) sums += block;
  return sums;
}

}  // namespace percentdelta

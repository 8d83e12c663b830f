// SPDX-License-Identifier: Apache-2.0

// The widest vector of floats that the compiler's flags allow, and the few operations on it that
// the kernels use. A part of kernels.cc.

#ifndef PERCENTDELTA_WORKER_KERNELS_SIMD_INL_H_
#define PERCENTDELTA_WORKER_KERNELS_SIMD_INL_H_

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace percentdelta::PD_ISA {
namespace {

#if defined(__AVX512F__)

using Vector = __m512;
inline constexpr int64_t kLanes = 16;
inline constexpr int kTileRows = 7;     // 7 x 4 sums and 4 vectors of B fill 32 registers
inline constexpr int kTileVectors = 4;  // (one factor of each multiply-add comes from memory)
inline constexpr char kArithmetic[] = "fma-2";

static inline Vector Load(const float* from) { return _mm512_loadu_ps(from); }
static inline void Store(float* to, Vector value) { _mm512_storeu_ps(to, value); }
static inline Vector Broadcast(float value) { return _mm512_set1_ps(value); }
static inline Vector Add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
static inline Vector Subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
static inline Vector MulAdd(Vector a, Vector b, Vector sum) { return _mm512_fmadd_ps(a, b, sum); }
static inline uint32_t NonzeroBits(Vector a) {
  return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}

#elif defined(__AVX2__) && defined(__FMA__)

using Vector = __m256;
inline constexpr int64_t kLanes = 8;
inline constexpr int kTileRows = 6;     // 6 x 2 sums, 2 vectors of B and one of A: 15 of 16
inline constexpr int kTileVectors = 2;  // registers
inline constexpr char kArithmetic[] = "fma-2";

static inline Vector Load(const float* from) { return _mm256_loadu_ps(from); }
static inline void Store(float* to, Vector value) { _mm256_storeu_ps(to, value); }
static inline Vector Broadcast(float value) { return _mm256_set1_ps(value); }
static inline Vector Add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
static inline Vector Subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
static inline Vector MulAdd(Vector a, Vector b, Vector sum) { return _mm256_fmadd_ps(a, b, sum); }
static inline uint32_t NonzeroBits(Vector a) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ));
}

#elif defined(__SSE2__)

using Vector = __m128;
inline constexpr int64_t kLanes = 4;
inline constexpr int kTileRows = 6;
inline constexpr int kTileVectors = 2;
inline constexpr char kArithmetic[] = "mul-add-2";

static inline Vector Load(const float* from) { return _mm_loadu_ps(from); }
static inline void Store(float* to, Vector value) { _mm_storeu_ps(to, value); }
static inline Vector Broadcast(float value) { return _mm_set1_ps(value); }
static inline Vector Add(Vector a, Vector b) { return _mm_add_ps(a, b); }
static inline Vector Subtract(Vector a, Vector b) { return _mm_sub_ps(a, b); }
static inline Vector MulAdd(Vector a, Vector b, Vector sum) {
  return _mm_add_ps(_mm_mul_ps(a, b), sum);
}
static inline uint32_t NonzeroBits(Vector a) {
  return _mm_movemask_ps(_mm_cmpneq_ps(a, _mm_setzero_ps()));
}

#else

// Plain C++ that compilers turn into whatever vectors there are.
struct Vector {
  float lane[4];
};
inline constexpr int64_t kLanes = 4;
inline constexpr int kTileRows = 6;
inline constexpr int kTileVectors = 2;

static inline Vector Load(const float* from) { return {{from[0], from[1], from[2], from[3]}}; }
static inline void Store(float* to, Vector value) {
  for (int i = 0; i < 4; ++i) to[i] = value.lane[i];
}
static inline Vector Broadcast(float value) { return {{value, value, value, value}}; }
static inline Vector Add(Vector a, Vector b) {
  for (int i = 0; i < 4; ++i) a.lane[i] += b.lane[i];
  return a;
}
static inline Vector Subtract(Vector a, Vector b) {
  for (int i = 0; i < 4; ++i) a.lane[i] -= b.lane[i];
  return a;
}
static inline uint32_t NonzeroBits(Vector a) {
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) bits |= uint32_t{a.lane[i] != 0} << i;
  return bits;
}

#if defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA)
inline constexpr char kArithmetic[] = "fma-2";
static inline Vector MulAdd(Vector a, Vector b, Vector sum) {
  for (int i = 0; i < 4; ++i) sum.lane[i] = __builtin_fmaf(a.lane[i], b.lane[i], sum.lane[i]);
  return sum;
}
#else
inline constexpr char kArithmetic[] = "mul-add-2";
static inline Vector MulAdd(Vector a, Vector b, Vector sum) {
  for (int i = 0; i < 4; ++i) sum.lane[i] = a.lane[i] * b.lane[i] + sum.lane[i];
  return sum;
}
#endif

#endif

}  // namespace
}  // namespace percentdelta::PD_ISA

#endif  // PERCENTDELTA_WORKER_KERNELS_SIMD_INL_H_

// SPDX-License-Identifier: Apache-2.0

// Products of matrices: see Kernels::mat_mul. A part of kernels.cc.
//
// A's rows come from a ReLU, or from its gradient: many of their entries are zeros. The inner
// dimension is taken in blocks so short that a panel of B under a block stays in the nearest cache.
// A row's nonzero entries are marked by bits, and only these are multiplied, with a row of C's
// panel in registers. Reading a factor from the cache for each multiply-add costs nothing:
// processors load as many vectors as they multiply.

#ifndef PERCENTDELTA_WORKER_KERNELS_MAT_MUL_INL_H_
#define PERCENTDELTA_WORKER_KERNELS_MAT_MUL_INL_H_

#include <cstdint>

#include "worker/kernels/kernels.h"
#include "worker/kernels/micro_kernel-inl.h"
#include "worker/kernels/simd-inl.h"

namespace percentdelta::PD_ISA {
namespace {

constexpr int64_t kInnerBlock = 48;  // whole vectors; at most 64, the bits of a mask
constexpr int kRowVectors = 8;       // of C in registers: enough independent sums
static_assert(kMaxTileColumns % (kRowVectors * kLanes) == 0, "tiles are whole panels");

// A block of A: entry (r, k) is at entries[r * row_stride + k * inner_stride]; bit k of nonzero[r]
// is set if it is not 0.
struct LeftBlock {
  const float* entries;
  int64_t row_stride;
  int64_t inner_stride;
  uint64_t nonzero[kMaxTileRows];
};

// Marks the entries of rows that are contiguous.
void MarkNonzeros(int64_t rows, int64_t inner, LeftBlock& block) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = block.entries + r * block.row_stride;
    uint64_t bits = 0;
    int64_t k = 0;
    for (; k + kLanes <= inner; k += kLanes) bits |= uint64_t{NonzeroBits(Load(row + k))} << k;
    for (; k < inner; ++k) bits |= uint64_t{row[k] != 0} << k;
    block.nonzero[r] = bits;
  }
}

// Copies columns of A, each contiguous in memory and a row of `copy`, and marks their entries.
void CopyColumns(const float* a, int64_t a_row_stride, int64_t a_inner_stride, int64_t rows,
                 int64_t inner, float* copy, LeftBlock& block) {
  for (int64_t r = 0; r < rows; ++r) block.nonzero[r] = 0;
  for (int64_t k = 0; k < inner; ++k) {
    const float* from = a + k * a_inner_stride;
    float* to = copy + k * kMaxTileRows;
    if (a_row_stride == 1) {
      for (int64_t r = 0; r < rows; ++r) to[r] = from[r];
    } else {
      for (int64_t r = 0; r < rows; ++r) to[r] = from[r * a_row_stride];
    }
    for (int64_t r = 0; r < rows; ++r) block.nonzero[r] |= uint64_t{to[r] != 0} << k;
  }
  block.entries = copy;
  block.row_stride = 1;
  block.inner_stride = kMaxTileRows;
}

// sums (rows of kVectors vectors) = or += a block of A times a panel of B.
template <int kVectors>
void MultiplyBlock(const LeftBlock& a, int64_t rows, const float* b, float* sums, bool add) {
  for (int64_t r = 0; r < rows; ++r) {
    Vector sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = add ? Load(sums + v * kLanes) : Broadcast(0);
    const float* left = a.entries + r * a.row_stride;
    for (uint64_t bits = a.nonzero[r]; bits != 0; bits &= bits - 1) {
      const int64_t k = __builtin_ctzll(bits);
      const Vector factor = Broadcast(left[k * a.inner_stride]);
      const float* right = b + k * (kVectors * kLanes);
      for (int v = 0; v < kVectors; ++v) sum[v] = MulAdd(factor, Load(right + v * kLanes), sum[v]);
    }
    for (int v = 0; v < kVectors; ++v) Store(sums + v * kLanes, sum[v]);
    sums += kVectors * kLanes;
  }
}

// A product of at most kMaxTileRows x kMaxTileColumns, in panels of kVectors vectors. The sums have
// their own memory until they are complete: the stride of C's rows may keep them out of every
// cache.
template <int kVectors>
void MultiplyTile(const MatMul& p) {
  constexpr int64_t kWidth = kVectors * kLanes;
  alignas(64) float packed_a[kInnerBlock * kMaxTileRows];
  alignas(64) float packed_b[kInnerBlock * kMaxTileColumns];
  alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
  for (int64_t k = 0; k < p.inner; k += kInnerBlock) {
    const int64_t inner = Min(kInnerBlock, p.inner - k);
    LeftBlock a;
    a.entries = p.a + k * p.a_inner_stride;
    a.row_stride = p.a_row_stride;
    a.inner_stride = 1;
    if (p.a_inner_stride == 1) {
      MarkNonzeros(p.rows, inner, a);
    } else {
      CopyColumns(a.entries, p.a_row_stride, p.a_inner_stride, p.rows, inner, packed_a, a);
    }
    PackPanels(p.b + k * p.b_inner_stride, p.b_inner_stride, p.b_column_stride, inner, p.columns,
               kWidth, packed_b);
    for (int64_t j = 0; j < p.columns; j += kWidth) {
      MultiplyBlock<kVectors>(a, p.rows, packed_b + j * inner, sums + j * p.rows, k > 0);
    }
  }
  for (int64_t j = 0; j < p.columns; j += kWidth) {
    const int64_t columns = Min(kWidth, p.columns - j);
    for (int64_t i = 0; i < p.rows; ++i) {
      const float* from = sums + j * p.rows + i * kWidth;
      for (int64_t c = 0; c < columns; ++c) p.c[i * p.c_row_stride + j + c] = from[c];
    }
  }
}

void MultiplyMatrices(const MatMul& product) {
  for (int64_t i = 0; i < product.rows; i += kMaxTileRows) {
    for (int64_t j = 0; j < product.columns; j += kMaxTileColumns) {
      MatMul tile = product;
      tile.rows = Min(kMaxTileRows, product.rows - i);
      tile.columns = Min(kMaxTileColumns, product.columns - j);
      tile.a += i * product.a_row_stride;
      tile.b += j * product.b_column_stride;
      tile.c += i * product.c_row_stride + j;
      const int64_t vectors = (tile.columns + kLanes - 1) / kLanes;
      if (vectors > 4) {
        MultiplyTile<kRowVectors>(tile);
      } else if (vectors > 1) {
        MultiplyTile<4>(tile);
      } else {
        MultiplyTile<1>(tile);
      }
    }
  }
}

}  // namespace
}  // namespace percentdelta::PD_ISA

#endif  // PERCENTDELTA_WORKER_KERNELS_MAT_MUL_INL_H_

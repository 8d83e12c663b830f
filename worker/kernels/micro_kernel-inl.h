// SPDX-License-Identifier: Apache-2.0

// The dense way to multiply, of two: MicroKernel keeps some rows of a panel of C in registers while
// it walks along the inner dimension (used by conv-inl.h and winograd-inl.h). Where about half of
// the factors are zeros, mat_mul-inl.h and conv_backward-inl.h skip those. A part of kernels.cc.

#ifndef PERCENTDELTA_WORKER_KERNELS_MICRO_KERNEL_INL_H_
#define PERCENTDELTA_WORKER_KERNELS_MICRO_KERNEL_INL_H_

#include <cstdint>

#include "worker/kernels/kernels.h"
#include "worker/kernels/simd-inl.h"

namespace percentdelta::PD_ISA {
namespace {

int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Vectors in a row of a panel: as few as the columns need, at most what the registers allow.
int PanelVectors(int64_t columns) {
  int vectors = 1;
  while (vectors < kTileVectors && vectors * kLanes < columns) vectors *= 2;
  return vectors;
}

// The rows of A that a micro-kernel reads: entry k of segment s of row i is at
// first[i * row_stride + s * segment_stride + k].
struct LeftRows {
  const float* first;
  int64_t row_stride;
  int64_t segments;
  int64_t segment_length;
  int64_t segment_stride;
};

// c (kRows rows of kVectors vectors) = the rows of A times a panel of B.
template <int kRows, int kVectors>
void MicroKernel(const LeftRows& a, const float* b, float* c, int64_t c_row_stride) {
  Vector sum[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Broadcast(0);
  }
  for (int64_t s = 0; s < a.segments; ++s) {
    const float* row[kRows];
    for (int i = 0; i < kRows; ++i) row[i] = a.first + i * a.row_stride + s * a.segment_stride;
    for (int64_t k = 0; k < a.segment_length; ++k) {
      Vector factor[kVectors];
      for (int v = 0; v < kVectors; ++v) factor[v] = Load(b + v * kLanes);
      b += kVectors * kLanes;
      for (int i = 0; i < kRows; ++i) {
        const Vector left = Broadcast(row[i][k]);
        for (int v = 0; v < kVectors; ++v) sum[i][v] = MulAdd(left, factor[v], sum[i][v]);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) Store(c + i * c_row_stride + v * kLanes, sum[i][v]);
  }
}

using MicroKernelFunction = void (*)(const LeftRows&, const float*, float*, int64_t);

template <int kVectors>
MicroKernelFunction MicroKernelOf(int64_t rows) {
  switch (rows) {
    case 1:
      return MicroKernel<1, kVectors>;
    case 2:
      return MicroKernel<2, kVectors>;
    case 3:
      return MicroKernel<3, kVectors>;
    case 4:
      return MicroKernel<4, kVectors>;
    case 5:
      return MicroKernel<5, kVectors>;
    case 6:
      return MicroKernel<6, kVectors>;
    default:
      return MicroKernel<kTileRows, kVectors>;
  }
}

MicroKernelFunction MicroKernelOf(int64_t rows, int vectors) {
  if (vectors == 1) return MicroKernelOf<1>(rows);
  if (vectors == 2) return MicroKernelOf<2>(rows);
  return MicroKernelOf<kTileVectors>(rows);
}

// Multiplies `rows` rows, in groups of about equal height that fit into the registers.
void MultiplyRows(LeftRows a, int64_t rows, const float* b, int vectors, float* c,
                  int64_t c_row_stride) {
  int64_t groups = (rows + kTileRows - 1) / kTileRows;
  while (rows > 0) {
    const int64_t height = (rows + groups - 1) / groups;
    MicroKernelOf(height, vectors)(a, b, c, c_row_stride);
    a.first += height * a.row_stride;
    c += height * c_row_stride;
    rows -= height;
    --groups;
  }
}

// Copies `inner` rows of B, `columns` wide, into panels of `width` columns, whole vectors. Pads the
// last panel with zeros.
void PackPanels(const float* b, int64_t inner_stride, int64_t column_stride, int64_t inner,
                int64_t columns, int64_t width, float* packed) {
  for (int64_t begin = 0; begin < columns; begin += width) {
    const int64_t used = Min(width, columns - begin);
    const float* from = b + begin * column_stride;
    if (column_stride == 1) {
      const int64_t whole = used / kLanes * kLanes;
      for (int64_t k = 0; k < inner; ++k) {
        const float* row = from + k * inner_stride;
        for (int64_t j = 0; j < whole; j += kLanes) Store(packed + k * width + j, Load(row + j));
        for (int64_t j = whole; j < used; ++j) packed[k * width + j] = row[j];
      }
    } else {
      for (int64_t j = 0; j < used; ++j) {
        for (int64_t k = 0; k < inner; ++k) {
          packed[k * width + j] = from[k * inner_stride + j * column_stride];
        }
      }
    }
    for (int64_t k = 0; k < inner && used < width; ++k) {
      for (int64_t j = used; j < width; ++j) packed[k * width + j] = 0;
    }
    packed += inner * width;
  }
}

int64_t PackedChannels(const ConvShape& shape) {
  return RoundUp(shape.out_channels, PanelVectors(shape.out_channels) * kLanes);
}

}  // namespace
}  // namespace percentdelta::PD_ISA

#endif  // PERCENTDELTA_WORKER_KERNELS_MICRO_KERNEL_INL_H_

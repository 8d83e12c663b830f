// SPDX-License-Identifier: Apache-2.0

// The convolution with a 5x5 kernel by Winograd's minimal filtering, F(2x2, 5x5): 36 products for
// the 2x2 outputs of a pooling window instead of 100. A part of kernels.cc.
//
//   Y = A^T [ sum over the input channels of (G g G^T) * (B^T d B) ] A
//
// with g the 5x5 weights, d the 6x6 inputs under them, * entry by entry (Lavin and Gray, "Fast
// Algorithms for Convolutional Neural Networks", 2015, section 4). The transforms follow from the
// points 0, 1/2, -1/2, 2, -2 and infinity. With M(x) the product of x - q over the finite points q,
// point p's row of B^T has the coefficients of M(x) / (x - p), its row of G is (1, p, ..., p^4)
// over the product of p - q over the others, its column of A^T is (1, p); infinity has M(x),
// (0, ..., 0, 1) and (0, 1). The errors with the usual points 0, +-1 and +-2 would be half as large
// again (docs/decisions/0014).
//
// G g G^T is computed in double precision and rounded once. The rest is in single precision.

#ifndef PERCENTDELTA_WORKER_KERNELS_WINOGRAD_INL_H_
#define PERCENTDELTA_WORKER_KERNELS_WINOGRAD_INL_H_

#include <cstdint>

#include "worker/kernels/kernels.h"
#include "worker/kernels/micro_kernel-inl.h"
#include "worker/kernels/simd-inl.h"

namespace percentdelta::PD_ISA {
namespace {

constexpr int64_t kPoints = 36;           // pairs of the six
constexpr int64_t kWinogradWindows = 14;  // transformed at a time, in whole rows, or one row

bool UsesWinograd(const ConvShape& shape) { return shape.kernel == 5 && shape.in_channels >= 8; }

int64_t WinogradPackedSize(const ConvShape& shape) {
  return kPoints * shape.in_channels * PackedChannels(shape);
}

// to[j] = sum over the 25 taps of factor times weight, for j < count; 0 for the rest of a panel.
void TransformWeights(const double factors[25], const float* weights, int64_t tap_stride,
                      int64_t count, int64_t width, float* to) {
  double sum[kTileVectors * kLanes] = {};
  for (int64_t tap = 0; tap < 25; ++tap) {
    if (factors[tap] == 0) continue;
    for (int64_t j = 0; j < count; ++j) sum[j] += factors[tap] * weights[tap * tap_stride + j];
  }
  for (int64_t j = 0; j < width; ++j) to[j] = static_cast<float>(sum[j]);
}

// One matrix (in_channels, out_channels) for each pair of points, in panels.
void PackWinogradWeights(const ConvShape& shape, const float* weights, float* packed) {
  static constexpr double kG[6][5] = {{1, 0, 0, 0, 0},
                                      {-16 / 30., -8 / 30., -4 / 30., -2 / 30., -1 / 30.},
                                      {-16 / 30., 8 / 30., -4 / 30., 2 / 30., -1 / 30.},
                                      {1 / 30., 2 / 30., 4 / 30., 8 / 30., 16 / 30.},
                                      {1 / 30., -2 / 30., 4 / 30., -8 / 30., 16 / 30.},
                                      {0, 0, 0, 0, 1}};
  const int64_t width = PanelVectors(shape.out_channels) * kLanes;
  for (int64_t point = 0; point < kPoints; ++point) {
    double factors[25];
    for (int64_t tap = 0; tap < 25; ++tap)
      factors[tap] = kG[point / 6][tap / 5] * kG[point % 6][tap % 5];
    for (int64_t begin = 0; begin < shape.out_channels; begin += width) {
      const int64_t count = Min(width, shape.out_channels - begin);
      for (int64_t c = 0; c < shape.in_channels; ++c) {
        TransformWeights(factors, weights + c * shape.out_channels + begin,
                         shape.in_channels * shape.out_channels, count, width, packed);
        packed += width;
      }
    }
  }
}

// The number of rows of windows that are transformed at a time.
int64_t WinogradRows(const ConvShape& shape) {
  const int64_t rows = kWinogradWindows / (shape.width / 2);
  return rows < 1 ? 1 : Min(rows, shape.height / 2);
}

// The parts of the scratch memory.
struct WinogradScratch {
  int64_t channels;      // in_channels, rounded up to whole vectors
  int64_t row_stride;    // of `rows`
  int64_t input_stride;  // between the points of `inputs`
  int64_t sum_stride;    // between the points of `sums`
  int64_t size;          // of all parts, in floats

  float* rows;    // (6, row_stride): B^T d
  float* inputs;  // (36, windows, channels): B^T d B
  float* sums;    // (36, windows, packed channels)
  float* pixels;  // (4, packed channels)
};

// With a null `scratch`, sets only the sizes and strides.
WinogradScratch DivideWinogradScratch(const ConvShape& shape, float* scratch) {
  const int64_t windows = WinogradRows(shape) * (shape.width / 2);
  WinogradScratch s = {};
  s.channels = RoundUp(shape.in_channels, kLanes);
  s.row_stride = RoundUp(shape.input_row_stride, kLanes) + kLanes;
  s.input_stride = windows * s.channels;
  s.sum_stride = windows * PackedChannels(shape);
  s.size = 6 * s.row_stride + kPoints * (s.input_stride + s.sum_stride) + 4 * PackedChannels(shape);
  if (scratch == nullptr) return s;
  s.rows = scratch;
  s.inputs = s.rows + 6 * s.row_stride;
  s.sums = s.inputs + kPoints * s.input_stride;
  s.pixels = s.sums + kPoints * s.sum_stride;
  return s;
}

// to[i] = row i of B^T times d.
void TransformInput(const Vector d[6], Vector to[6]) {
  const Vector half = Broadcast(0.5F);
  const Vector two = Broadcast(2);
  const Vector minus_four = Broadcast(-4);
  const Vector minus_quarter = Broadcast(-0.25F);
  const Vector middle = Broadcast(-4.25F);
  to[0] = MulAdd(middle, d[2], Add(d[0], d[4]));
  to[5] = MulAdd(middle, d[3], Add(d[1], d[5]));
  const Vector even_half = MulAdd(minus_four, d[2], d[4]);
  const Vector odd_half = MulAdd(minus_four, d[1], d[3]);
  to[1] = MulAdd(half, odd_half, even_half);
  to[2] = MulAdd(Broadcast(-0.5F), odd_half, even_half);
  const Vector even_two = MulAdd(minus_quarter, d[2], d[4]);
  const Vector odd_two = MulAdd(minus_quarter, d[1], d[3]);
  to[3] = MulAdd(two, odd_two, even_two);
  to[4] = MulAdd(Broadcast(-2), odd_two, even_two);
}

// A^T times m.
void TransformOutput(const Vector m[6], Vector& first, Vector& second) {
  const Vector even_half = Add(m[1], m[2]);
  const Vector even_two = Add(m[3], m[4]);
  first = Add(Add(m[0], even_half), even_two);
  const Vector odd_half = MulAdd(Broadcast(0.5F), Subtract(m[1], m[2]), m[5]);
  second = MulAdd(Broadcast(2), Subtract(m[3], m[4]), odd_half);
}

// The inputs of one row of windows; `input` is the first of its six rows of pixels.
void TransformInputs(const ConvShape& shape, const WinogradScratch& scratch, const float* input,
                     int64_t first_window) {
  for (int64_t e = 0; e < shape.input_row_stride; e += kLanes) {
    Vector d[6];
    for (int64_t i = 0; i < 6; ++i) d[i] = Load(input + i * shape.input_row_stride + e);
    Vector row[6];
    TransformInput(d, row);
    for (int64_t i = 0; i < 6; ++i) Store(scratch.rows + i * scratch.row_stride + e, row[i]);
  }
  for (int64_t x = 0; x < shape.width / 2; ++x) {
    float* to = scratch.inputs + (first_window + x) * scratch.channels;
    for (int64_t i = 0; i < 6; ++i) {
      const float* from = scratch.rows + i * scratch.row_stride + 2 * x * shape.in_channels;
      for (int64_t c = 0; c < scratch.channels; c += kLanes) {
        Vector d[6];
        for (int64_t j = 0; j < 6; ++j) d[j] = Load(from + j * shape.in_channels + c);
        Vector point[6];
        TransformInput(d, point);
        for (int64_t j = 0; j < 6; ++j) Store(to + j * scratch.input_stride + c, point[j]);
      }
      to += 6 * scratch.input_stride;
    }
  }
}

// The four pixels of a window, before bias and ReLU.
void TransformOutputs(const ConvShape& shape, const WinogradScratch& scratch, int64_t window) {
  const int64_t channels = PackedChannels(shape);
  const float* from = scratch.sums + window * channels;
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vector upper[6];
    Vector lower[6];
    for (int64_t j = 0; j < 6; ++j) {
      Vector m[6];
      for (int64_t i = 0; i < 6; ++i) m[i] = Load(from + (i * 6 + j) * scratch.sum_stride + c);
      TransformOutput(m, upper[j], lower[j]);
    }
    Vector pixel[4];
    TransformOutput(upper, pixel[0], pixel[1]);
    TransformOutput(lower, pixel[2], pixel[3]);
    for (int64_t i = 0; i < 4; ++i) Store(scratch.pixels + i * channels + c, pixel[i]);
  }
}

// Calls pool(window, its four pixels' sums: (4, packed channels)) for every window of an image.
template <typename Pool>
void WinogradConvolve(const ConvShape& shape, const float* input, const float* packed,
                      float* scratch_memory, const Pool& pool) {
  const WinogradScratch scratch = DivideWinogradScratch(shape, scratch_memory);
  const int vectors = PanelVectors(shape.out_channels);
  const int64_t width = vectors * kLanes;
  const int64_t channels = PackedChannels(shape);
  const int64_t row_windows = shape.width / 2;
  const int64_t rows_at_once = WinogradRows(shape);
  for (int64_t y = 0; y < shape.height / 2; y += rows_at_once) {
    const int64_t rows = Min(rows_at_once, shape.height / 2 - y);
    for (int64_t row = 0; row < rows; ++row) {
      TransformInputs(shape, scratch, input + 2 * (y + row) * shape.input_row_stride,
                      row * row_windows);
    }
    for (int64_t point = 0; point < kPoints; ++point) {
      const LeftRows inputs = {scratch.inputs + point * scratch.input_stride, scratch.channels, 1,
                               shape.in_channels, 0};
      const float* weights = packed + point * shape.in_channels * channels;
      float* sums = scratch.sums + point * scratch.sum_stride;
      for (int64_t c = 0; c < channels; c += width) {
        MultiplyRows(inputs, rows * row_windows, weights + c * shape.in_channels, vectors, sums + c,
                     channels);
      }
    }
    for (int64_t window = 0; window < rows * row_windows; ++window) {
      TransformOutputs(shape, scratch, window);
      pool(y * row_windows + window, scratch.pixels);
    }
  }
}

}  // namespace
}  // namespace percentdelta::PD_ISA

#endif  // PERCENTDELTA_WORKER_KERNELS_WINOGRAD_INL_H_

// SPDX-License-Identifier: Apache-2.0

// The inner loops of a model, one table of them for each instruction set (select.h).
//
// Bits: every entry of every result is computed by chains of multiply-adds in the order stated
// below. Neither the width of the vectors, nor the blocking, nor the caller's tiling changes that
// order; the instruction sets differ only in whether a multiply-add rounds once ("fma") or twice
// ("mul-add"). Tables of equal `arithmetic` therefore give equal bits, on any machine. Its number
// is raised with every change of an order, so that workers of two versions do not mix.
//
// kernels.cc is compiled once for each instruction set: what it includes obeys the rules of
// common/base/isa.h.

#ifndef PERCENTDELTA_WORKER_KERNELS_KERNELS_H_
#define PERCENTDELTA_WORKER_KERNELS_KERNELS_H_

#include <cstdint>

namespace percentdelta {

// C = A B, all three in the caller's memory. Entry (i, k) of A is at
// a[i * a_row_stride + k * a_inner_stride], and so on; C's columns are contiguous.
struct MatMul {
  int64_t rows;     // of A and C
  int64_t inner;    // columns of A, rows of B
  int64_t columns;  // of B and C
  const float* a;
  int64_t a_row_stride;
  int64_t a_inner_stride;
  const float* b;
  int64_t b_inner_stride;
  int64_t b_column_stride;
  float* c;
  int64_t c_row_stride;
};

// A convolution with stride 1 whose output is as large as its input ("SAME"), followed by bias,
// ReLU and 2x2 max-pooling. The input has a border of kernel / 2 zero pixels on each side.
struct ConvShape {
  int64_t height;  // of the image without border: even
  int64_t width;   // even
  int64_t in_channels;
  int64_t out_channels;
  int64_t kernel;  // odd: its height and width

  // Distance between the rows of the input, in floats: width + kernel - 1 pixels.
  int64_t input_row_stride;
};

// Arrays that are read in whole vectors are padded to a multiple of this, in floats.
inline constexpr int64_t kPadding = 16;

// The largest product that mat_mul computes at a time: the best unit of work for a thread. The
// number of rows is not a multiple of a large power of 2; the columns are whole vectors.
inline constexpr int64_t kMaxTileRows = 504;
inline constexpr int64_t kMaxTileColumns = 256;

// What Kernels::conv writes to `winners` where the ReLU's output is 0: no gradient passes.
inline constexpr uint8_t kNoWinner = 4;

struct Kernels {
  const char* isa;         // "x86-64-v3"
  const char* arithmetic;  // "fma-2" or "mul-add-2"

  // c[i][j] = (((0 + a[i][0] b[0][j]) + a[i][1] b[1][j]) + ...), in this order, without the terms
  // whose a[i][k] is 0: they cost little, and entries of b that are not finite affect only the
  // results that use them. Takes about 700 KiB of stack.
  void (*mat_mul)(const MatMul& product);

  // Number of floats that pack_conv_weights writes.
  int64_t (*packed_conv_size)(const ConvShape& shape);

  // Reorders weights (kernel, kernel, in_channels, out_channels) for `conv`.
  void (*pack_conv_weights)(const ConvShape& shape, const float* weights, float* packed);

  // Number of floats of scratch memory that `conv` needs.
  int64_t (*conv_scratch_size)(const ConvShape& shape);

  // Computes one image. The convolution's sum is a chain from 0 over (kernel row, kernel column,
  // input channel), or, with a 5x5 kernel and eight input channels or more, Winograd's
  // (winograd-inl.h: the same on all instruction sets); then the bias is added. Output pixel (y, x)
  // is at output[y * output_row_stride + x * out_channels]. Entries of winners (height / 2, width /
  // 2, out_channels) name the position of the window's maximum (0 ... 3, row-major, the first of
  // equals), or are kNoWinner. Reads up to kPadding floats past the end of the input.
  void (*conv)(const ConvShape& shape, const float* input, const float* packed, const float* biases,
               float* scratch, float* output, int64_t output_row_stride, uint8_t* winners);

  // Adds one image's gradient, given that of its output, to `weight_sums` (out_channels, kernel,
  // kernel * in_channels rounded up to kPadding) and `bias_sums` (out_channels). Each sum is a
  // chain over the windows, row-major; the padding is unspecified. Skips gradients of 0. Reads up
  // to kPadding floats past the end of the input.
  void (*conv_backward_weights)(const ConvShape& shape, const float* input, const float* gradient,
                                int64_t gradient_row_stride, const uint8_t* winners,
                                float* weight_sums, float* bias_sums);

  // Adds the gradient of one image's input to `input_gradient`, an image with border. The border,
  // and up to kPadding floats past the end, are unspecified. `weights` are (kernel, out_channels,
  // kernel * in_channels rounded up to kPadding with zeros). Each sum is a chain over blocks of 64
  // channels, within them over blocks of 64 windows, within these over the rows of the kernel, the
  // windows, their positions and the channels.
  void (*conv_backward_input)(const ConvShape& shape, const float* weights, const float* gradient,
                              int64_t gradient_row_stride, const uint8_t* winners,
                              float* input_gradient);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_KERNELS_KERNELS_H_

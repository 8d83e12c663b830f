// The inner loops of a model, one table of them for each instruction set.
//
// Bits: every entry of every result is one chain of multiply-adds in an order that is stated below.
// Neither the width of the vectors, nor the blocking, nor the caller's tiling changes that order;
// the instruction sets differ only in whether a multiply-add rounds once ("fma") or twice
// ("mul-add"). Tables of equal `arithmetic` therefore give equal bits, on any machine.
//
// This header and those that the kernels' own sources include hold no inline function and no
// standard container: a function compiled for one instruction set must not be merged by the linker
// with its namesake compiled for another.

#ifndef PERCENTDELTA_WORKER_KERNELS_KERNELS_H_
#define PERCENTDELTA_WORKER_KERNELS_KERNELS_H_

#include <cstdint>

namespace percentdelta {

// C = A B, all of them in memory of the caller's. Entry (i, k) of A is at
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

// A convolution with stride 1 and as many outputs as inputs ("SAME"), followed by bias, ReLU and
// 2x2 max-pooling. Its input has a border of kernel / 2 zero pixels on each side.
struct ConvShape {
  int64_t height;  // of the image without border: even
  int64_t width;   // even
  int64_t in_channels;
  int64_t out_channels;
  int64_t kernel;  // odd: its height and width

  // Floats between the rows of the input: those of width + kernel - 1 pixels.
  int64_t input_row_stride;
};

// A summand of AddScaledRows.
struct ScaledRow {
  int64_t offset;
  float scale;
};

// Floats that may be read and written, but not changed, behind the end of what AddScaledRows is
// given: the length of its rows is rounded up to a multiple of this.
inline constexpr int64_t kPadding = 16;

// What Kernels::conv leaves in `winners` where the ReLU's output is 0: no gradient passes.
inline constexpr uint8_t kNoWinner = 4;

struct Kernels {
  const char* isa;         // "x86-64-v3"
  const char* arithmetic;  // "fma" or "mul-add"

  // c[i][j] = (((0 + a[i][0] b[0][j]) + a[i][1] b[1][j]) + ...), in this order. Takes some 400 KiB
  // of the stack: meant for tiles.
  void (*mat_mul)(const MatMul& product);

  // The floats that pack_conv_weights writes.
  int64_t (*packed_conv_size)(const ConvShape& shape);

  // Brings weights (kernel, kernel, in_channels, out_channels) into the order that `conv` reads.
  void (*pack_conv_weights)(const ConvShape& shape, const float* weights, float* packed);

  // The floats of scratch memory that `conv` needs.
  int64_t (*conv_scratch_size)(const ConvShape& shape);

  // Of one image. The convolution's sum is a chain from 0 over (kernel row, kernel column, input
  // channel); then the bias is added. Output pixel (y, x) is at output[y * output_row_stride +
  // x * out_channels]. winners (height / 2, width / 2, out_channels) says which of its four
  // positions a maximum came from (0 ... 3, row-major, the first of equals), or kNoWinner.
  void (*conv)(const ConvShape& shape, const float* input, const float* packed, const float* biases,
               float* scratch, float* output, int64_t output_row_stride, uint8_t* winners);

  // to[r * to_stride + j] += sum over the summands s, in order, of
  // s.scale * from[s.offset + r * from_stride + j], for r < rows and j < length. Works on j up to
  // the next multiple of kPadding: either nobody reads those entries of `to`, or `from` is 0 there.
  void (*add_scaled_rows)(const ScaledRow* summands, int64_t count, const float* from,
                          int64_t from_stride, int64_t rows, int64_t length, float* to,
                          int64_t to_stride);
};

// The tables. Calling into one that the processor lacks ends the process: see select.h.
extern const Kernels kGenericKernels;
#if defined(__x86_64__)
extern const Kernels kX86V2Kernels;
extern const Kernels kX86V3Kernels;
extern const Kernels kX86V4Kernels;
#endif

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_KERNELS_KERNELS_H_

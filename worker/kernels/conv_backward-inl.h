// SPDX-License-Identifier: Apache-2.0

// The gradients of a convolution: see Kernels::conv_backward_weights and conv_backward_input. A
// part of kernels.cc.
//
// Of a pooling window's four positions only the winner carries gradient, and none does where the
// ReLU was closed. So each channel of a window has at most one product with a patch of the input,
// or with a row of weights. The products that remain are marked by bits, as in mat_mul-inl.h.

#ifndef PERCENTDELTA_WORKER_KERNELS_CONV_BACKWARD_INL_H_
#define PERCENTDELTA_WORKER_KERNELS_CONV_BACKWARD_INL_H_

#include <cstdint>

#include "worker/kernels/kernels.h"
#include "worker/kernels/micro_kernel-inl.h"
#include "worker/kernels/simd-inl.h"

namespace percentdelta::PD_ISA {
namespace {

constexpr int64_t kBits = 64;  // windows, or channels, marked at a time

// A channel's gradient at one position of a window, and the offset of the patch it multiplies.
struct Summand {
  int32_t offset;
  float gradient;
};

// The windows [first, first + count) of an image, row-major.
struct WindowBlock {
  int64_t first;
  int64_t count;            // at most kBits
  int64_t gradient[kBits];  // offsets of the windows' gradients
  int64_t input[kBits];     // offsets of their first pixels in an image with border
  int64_t positions[4];     // offsets of a window's four pixels from the first
};

int64_t Windows(const ConvShape& shape) { return shape.height / 2 * (shape.width / 2); }

WindowBlock BlockOfWindows(const ConvShape& shape, int64_t gradient_row_stride, int64_t first) {
  const int64_t row_windows = shape.width / 2;
  WindowBlock block;
  block.first = first;
  block.count = Min(kBits, Windows(shape) - first);
  for (int64_t k = 0; k < block.count; ++k) {
    const int64_t y = (first + k) / row_windows;
    const int64_t x = (first + k) % row_windows;
    block.gradient[k] = y * gradient_row_stride + x * shape.out_channels;
    block.input[k] = 2 * y * shape.input_row_stride + 2 * x * shape.in_channels;
  }
  for (int64_t position = 0; position < 4; ++position) {
    block.positions[position] =
        position / 2 * shape.input_row_stride + position % 2 * shape.in_channels;
  }
  return block;
}

// Sets bit `bit` in the marks of each channel that carries gradient. Not inlined, so that GCC
// vectorizes it.
[[gnu::noinline]] void MarkChannels(const float* gradient, const uint8_t* winners, int64_t channels,
                                    int64_t bit, uint64_t* __restrict marks) {
  for (int64_t c = 0; c < channels; ++c) {
    const bool passes = (winners[c] != kNoWinner) & (gradient[c] != 0);  // no branch
    marks[c] |= uint64_t{passes} << bit;
  }
}

// Sets bit c of marks[position] if the gradient of channel c goes to that position.
void MarkPositions(const float* gradient, const uint8_t* winners, int64_t channels,
                   uint64_t marks[4]) {
  for (int64_t position = 0; position < 4; ++position) {
    uint64_t bits = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const bool passes = (winners[c] == position) & (gradient[c] != 0);
      bits |= uint64_t{passes} << c;
    }
    marks[position] = bits;
  }
}

// Lists the summands of a channel's marked windows; `gradient` and `winners` begin with that
// channel. Returns their number.
int64_t ListSummands(const WindowBlock& block, uint64_t marks, const float* gradient,
                     const uint8_t* winners, int64_t channels, Summand* summands) {
  int64_t count = 0;
  for (; marks != 0; marks &= marks - 1) {
    const int64_t k = __builtin_ctzll(marks);
    const uint8_t winner = winners[(block.first + k) * channels];
    summands[count++] = {static_cast<int32_t>(block.input[k] + block.positions[winner]),
                         gradient[block.gradient[k]]};
  }
  return count;
}

// to[r * to_stride + j] += sum over the summands s of s.gradient * from[s.offset + r * from_stride
// + j].
template <int kRows, int kVectors>
void AddBlock(const Summand* summands, int64_t count, const float* from, int64_t from_stride,
              float* to, int64_t to_stride) {
  Vector sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Load(to + r * to_stride + v * kLanes);
  }
  for (int64_t s = 0; s < count; ++s) {
    const Vector gradient = Broadcast(summands[s].gradient);
    const float* row = from + summands[s].offset;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = MulAdd(gradient, Load(row + r * from_stride + v * kLanes), sum[r][v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) Store(to + r * to_stride + v * kLanes, sum[r][v]);
  }
}

// Calls add(vectors, first vector) for parts of `vectors`, each as large as registers can hold; the
// first argument is a constant.
template <int kVectors>
struct Vectors {
  static constexpr int kCount = kVectors;
};
template <typename Add>
void ForParts(int64_t vectors, const Add& add) {
  int64_t v = 0;
  for (; v + 10 <= vectors; v += 10) add(Vectors<10>(), v);
  for (; v + 5 <= vectors; v += 5) add(Vectors<5>(), v);
  for (; v + 2 <= vectors; v += 2) add(Vectors<2>(), v);
  for (; v < vectors; ++v) add(Vectors<1>(), v);
}

// Adds the summands' patches of the input to one channel's sums.
void AddPatches(const ConvShape& shape, const Summand* summands, int64_t count, const float* input,
                float* sums) {
  const int64_t kernel_row = RoundUp(shape.kernel * shape.in_channels, kPadding);
  ForParts(kernel_row / kLanes, [&](auto part, int64_t v) {
    constexpr int kPart = decltype(part)::kCount;
    const float* from = input + v * kLanes;
    float* to = sums + v * kLanes;
    int64_t row = 0;
    if constexpr (kPart <= 2) {  // several rows at once, for enough independent sums
      for (; row + 5 <= shape.kernel; row += 5) {
        AddBlock<5, kPart>(summands, count, from + row * shape.input_row_stride,
                           shape.input_row_stride, to + row * kernel_row, kernel_row);
      }
    }
    for (; row < shape.kernel; ++row) {
      AddBlock<1, kPart>(summands, count, from + row * shape.input_row_stride, 0,
                         to + row * kernel_row, 0);
    }
  });
}

void ConvBackwardWeights(const ConvShape& shape, const float* input, const float* gradient,
                         int64_t gradient_row_stride, const uint8_t* winners, float* weight_sums,
                         float* bias_sums) {
  const int64_t channels = shape.out_channels;
  const int64_t channel_size = shape.kernel * RoundUp(shape.kernel * shape.in_channels, kPadding);
  for (int64_t first = 0; first < Windows(shape); first += kBits) {
    const WindowBlock block = BlockOfWindows(shape, gradient_row_stride, first);
    for (int64_t begin = 0; begin < channels; begin += kBits) {
      const int64_t count = Min(kBits, channels - begin);
      uint64_t marks[kBits] = {};  // bit k: window k
      for (int64_t k = 0; k < block.count; ++k) {
        MarkChannels(gradient + block.gradient[k] + begin, winners + (first + k) * channels + begin,
                     count, k, marks);
      }
      for (int64_t c = begin; c < begin + count; ++c) {
        Summand summands[kBits];
        const int64_t size =
            ListSummands(block, marks[c - begin], gradient + c, winners + c, channels, summands);
        for (int64_t s = 0; s < size; ++s) bias_sums[c] += summands[s].gradient;
        AddPatches(shape, summands, size, input, weight_sums + c * channel_size);
      }
    }
  }
}

// to (kVectors vectors) += sum over the marked channels c, in order, of gradient[c] * their rows.
template <int kVectors>
void AddRows(uint64_t marked, const float* gradient, const float* rows, int64_t row_stride,
             float* to) {
  Vector sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = Load(to + v * kLanes);
  for (; marked != 0; marked &= marked - 1) {
    const int64_t c = __builtin_ctzll(marked);
    const Vector factor = Broadcast(gradient[c]);
    const float* row = rows + c * row_stride;
    for (int v = 0; v < kVectors; ++v) sum[v] = MulAdd(factor, Load(row + v * kLanes), sum[v]);
  }
  for (int v = 0; v < kVectors; ++v) Store(to + v * kLanes, sum[v]);
}

void ConvBackwardInput(const ConvShape& shape, const float* weights, const float* gradient,
                       int64_t gradient_row_stride, const uint8_t* winners, float* input_gradient) {
  const int64_t channels = shape.out_channels;
  const int64_t kernel_row = RoundUp(shape.kernel * shape.in_channels, kPadding);
  // Adds the contribution of one position of a window through one row of the kernel.
  const auto add = [kernel_row](uint64_t marks, const float* from, const float* rows, float* to) {
    ForParts(kernel_row / kLanes, [&](auto part, int64_t v) {
      AddRows<decltype(part)::kCount>(marks, from, rows + v * kLanes, kernel_row, to + v * kLanes);
    });
  };
  for (int64_t begin = 0; begin < channels; begin += kBits) {
    const int64_t count = Min(kBits, channels - begin);
    for (int64_t first = 0; first < Windows(shape); first += kBits) {
      const WindowBlock block = BlockOfWindows(shape, gradient_row_stride, first);
      uint64_t marks[kBits][4];
      for (int64_t k = 0; k < block.count; ++k) {
        MarkPositions(gradient + block.gradient[k] + begin,
                      winners + (first + k) * channels + begin, count, marks[k]);
      }
      // Row by row of the kernel, so that the weights in use stay in the nearest caches.
      for (int64_t row = 0; row < shape.kernel; ++row) {
        const float* rows = weights + (row * channels + begin) * kernel_row;
        for (int64_t k = 0; k < block.count; ++k) {
          float* to = input_gradient + block.input[k] + row * shape.input_row_stride;
          for (int64_t position = 0; position < 4; ++position) {
            if (marks[k][position] == 0) continue;
            add(marks[k][position], gradient + block.gradient[k] + begin, rows,
                to + block.positions[position]);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace percentdelta::PD_ISA

#endif  // PERCENTDELTA_WORKER_KERNELS_CONV_BACKWARD_INL_H_

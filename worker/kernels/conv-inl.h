// SPDX-License-Identifier: Apache-2.0

// A convolution with bias, ReLU and pooling: see Kernels::conv. A part of kernels.cc.

#ifndef PERCENTDELTA_WORKER_KERNELS_CONV_INL_H_
#define PERCENTDELTA_WORKER_KERNELS_CONV_INL_H_

#include <cstdint>

#include "worker/kernels/kernels.h"
#include "worker/kernels/micro_kernel-inl.h"
#include "worker/kernels/winograd-inl.h"

namespace percentdelta::PD_ISA {
namespace {

int64_t PackedConvSize(const ConvShape& shape) {
  if (UsesWinograd(shape)) return WinogradPackedSize(shape);
  return shape.kernel * shape.kernel * shape.in_channels * PackedChannels(shape);
}

void PackConvWeights(const ConvShape& shape, const float* weights, float* packed) {
  if (UsesWinograd(shape)) return PackWinogradWeights(shape, weights, packed);
  PackPanels(weights, shape.out_channels, 1, shape.kernel * shape.kernel * shape.in_channels,
             shape.out_channels, PanelVectors(shape.out_channels) * kLanes, packed);
}

int64_t ConvScratchSize(const ConvShape& shape) {
  if (UsesWinograd(shape)) return DivideWinogradScratch(shape, nullptr).size;
  return 2 * shape.width * PackedChannels(shape);  // two rows of the convolution's sums
}

// Bias, maximum of four, ReLU. Preserves a NaN at the first position or in the bias.
void PoolPixel(const float* __restrict upper, const float* __restrict lower, int64_t next,
               const float* __restrict biases, int64_t channels, float* __restrict output,
               uint8_t* __restrict winners) {
  for (int64_t c = 0; c < channels; ++c) {
    float best = upper[c] + biases[c];
    int32_t winner = 0;
    const float second = upper[c + next] + biases[c];
    winner = second > best ? 1 : winner;
    best = second > best ? second : best;
    const float third = lower[c] + biases[c];
    winner = third > best ? 2 : winner;
    best = third > best ? third : best;
    const float fourth = lower[c + next] + biases[c];
    winner = fourth > best ? 3 : winner;
    best = fourth > best ? fourth : best;
    output[c] = best <= 0 ? 0 : best;
    winners[c] = static_cast<uint8_t>(best <= 0 ? kNoWinner : winner);
  }
}

// Calls pool(window, sums of its upper row, sums of its lower row) for every window of an image.
template <typename Pool>
void DirectConvolve(const ConvShape& shape, const float* input, const float* packed, float* scratch,
                    const Pool& pool) {
  const int vectors = PanelVectors(shape.out_channels);
  const int64_t width = vectors * kLanes;
  const int64_t inner = shape.kernel * shape.kernel * shape.in_channels;
  const int64_t channels = PackedChannels(shape);
  const int64_t row_size = shape.width * channels;
  for (int64_t y = 0; y < shape.height; y += 2) {
    for (int64_t row = 0; row < 2; ++row) {
      // A row of the kernel meets kernel x in_channels consecutive inputs.
      const LeftRows pixels = {input + (y + row) * shape.input_row_stride, shape.in_channels,
                               shape.kernel, shape.kernel * shape.in_channels,
                               shape.input_row_stride};
      for (int64_t c = 0; c < channels; c += width) {
        MultiplyRows(pixels, shape.width, packed + c * inner, vectors, scratch + row * row_size + c,
                     channels);
      }
    }
    for (int64_t x = 0; x < shape.width / 2; ++x) {
      const float* upper = scratch + 2 * x * channels;
      pool(y / 2 * (shape.width / 2) + x, upper, upper + row_size);
    }
  }
}

void Convolve(const ConvShape& shape, const float* input, const float* packed, const float* biases,
              float* scratch, float* output, int64_t output_row_stride, uint8_t* winners) {
  const int64_t channels = PackedChannels(shape);
  const int64_t row_windows = shape.width / 2;
  const auto pool = [&](int64_t window, const float* upper, const float* lower) {
    float* to = output + window / row_windows * output_row_stride +
                window % row_windows * shape.out_channels;
    PoolPixel(upper, lower, channels, biases, shape.out_channels, to,
              winners + window * shape.out_channels);
  };
  if (UsesWinograd(shape)) {
    WinogradConvolve(shape, input, packed, scratch, [&](int64_t window, const float* pixels) {
      pool(window, pixels, pixels + 2 * channels);
    });
  } else {
    DirectConvolve(shape, input, packed, scratch, pool);
  }
}

}  // namespace
}  // namespace percentdelta::PD_ISA

#endif  // PERCENTDELTA_WORKER_KERNELS_CONV_INL_H_

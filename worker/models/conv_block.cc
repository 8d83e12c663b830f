// SPDX-License-Identifier: Apache-2.0

#include "worker/models/conv_block.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/base/thread_pool.h"
#include "worker/kernels/kernels.h"

namespace percentdelta {
namespace {

ConvShape WithRowStride(ConvShape shape) {
  shape.input_row_stride = (shape.width + shape.kernel - 1) * shape.in_channels;
  return shape;
}

int64_t RoundUpToPadding(int64_t value) { return (value + kPadding - 1) / kPadding * kPadding; }

}  // namespace

PaddedImages::PaddedImages(int64_t height, int64_t width, int64_t channels, int64_t border)
    : row_stride_((width + 2 * border) * channels),
      image_stride_((height + 2 * border) * row_stride_),
      interior_offset_(border * row_stride_ + border * channels) {}

void PaddedImages::Reserve(int64_t count) {
  const auto size = static_cast<size_t>(count * image_stride_ + kPadding);
  if (values_.size() < size) values_.resize(size);
}

ConvBlock::ConvBlock(ConvShape shape, const Kernels& kernels)
    : shape_(WithRowStride(shape)),
      kernels_(kernels),
      kernel_row_(shape.kernel * shape.in_channels),
      padded_kernel_row_(RoundUpToPadding(kernel_row_)) {}

PaddedImages ConvBlock::MakeInput() const {
  return PaddedImages(shape_.height, shape_.width, shape_.in_channels, shape_.kernel / 2);
}

void ConvBlock::SetForwardWeights(absl::Span<const float> weights, absl::Span<const float> biases) {
  packed_.resize(kernels_.packed_conv_size(shape_));
  kernels_.pack_conv_weights(shape_, weights.data(), packed_.data());
  biases_.assign(biases.begin(), biases.end());
}

void ConvBlock::SetBackwardWeights(absl::Span<const float> weights) {
  transposed_.assign(shape_.kernel * shape_.out_channels * padded_kernel_row_, 0);
  for (int64_t row = 0; row < shape_.kernel; ++row) {
    float* to = transposed_.data() + row * shape_.out_channels * padded_kernel_row_;
    for (int64_t j = 0; j < kernel_row_; ++j) {
      const float* from = weights.data() + (row * kernel_row_ + j) * shape_.out_channels;
      for (int64_t channel = 0; channel < shape_.out_channels; ++channel) {
        to[channel * padded_kernel_row_ + j] = from[channel];
      }
    }
  }
}

void ConvBlock::Forward(const float* input, AlignedFloats& scratch, float* output,
                        int64_t output_row_stride, uint8_t* winners) const {
  scratch.resize(kernels_.conv_scratch_size(shape_));
  kernels_.conv(shape_, input, packed_.data(), biases_.data(), scratch.data(), output,
                output_row_stride, winners);
}

void ConvBlock::Clear(ConvGradient& sum) const {
  sum.weights.assign(shape_.out_channels * shape_.kernel * padded_kernel_row_, 0);
  sum.biases.assign(shape_.out_channels, 0);
}

void ConvBlock::Backward(const float* input, const float* output_gradient,
                         int64_t output_row_stride, const uint8_t* winners, ConvGradient& sum,
                         float* input_gradient) const {
  kernels_.conv_backward_weights(shape_, input, output_gradient, output_row_stride, winners,
                                 sum.weights.data(), sum.biases.data());
  if (input_gradient == nullptr) return;
  kernels_.conv_backward_input(shape_, transposed_.data(), output_gradient, output_row_stride,
                               winners, input_gradient);
}

void ConvBlock::Combine(absl::Span<const ConvGradient> parts, ThreadPool& pool,
                        absl::Span<float> weights, absl::Span<float> biases) const {
  const int64_t channel_size = shape_.kernel * padded_kernel_row_;
  pool.ParallelFor(shape_.out_channels, [&](int64_t c) {
    std::vector<float> total(channel_size, 0);
    biases[c] = 0;
    for (const ConvGradient& part : parts) {
      const float* from = part.weights.data() + c * channel_size;
      for (int64_t j = 0; j < channel_size; ++j) total[j] += from[j];
      biases[c] += part.biases[c];
    }
    for (int64_t row = 0; row < shape_.kernel; ++row) {
      for (int64_t j = 0; j < kernel_row_; ++j) {
        weights[(row * kernel_row_ + j) * shape_.out_channels + c] =
            total[row * padded_kernel_row_ + j];
      }
    }
  });
}

}  // namespace percentdelta

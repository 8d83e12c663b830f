#include "worker/models/conv_block.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/thread_pool.h"
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
  transposed_.resize(shape_.out_channels * shape_.kernel * padded_kernel_row_);
  for (int64_t row = 0; row < shape_.kernel; ++row) {
    for (int64_t j = 0; j < kernel_row_; ++j) {
      const float* from = weights.data() + (row * kernel_row_ + j) * shape_.out_channels;
      float* to = transposed_.data() + row * padded_kernel_row_ + j;
      for (int64_t channel = 0; channel < shape_.out_channels; ++channel) {
        to[channel * shape_.kernel * padded_kernel_row_] = from[channel];
      }
    }
  }
}

void ConvBlock::Forward(const float* input, ConvScratch& scratch, float* output,
                        int64_t output_row_stride, uint8_t* winners) const {
  scratch.sums.resize(kernels_.conv_scratch_size(shape_));
  kernels_.conv(shape_, input, packed_.data(), biases_.data(), scratch.sums.data(), output,
                output_row_stride, winners);
}

// Lists the positions that carry gradient: for the weights, channel by channel, with their place in
// the input; for the input, position by position, with their channel's place in `transposed_`.
// Every entry is written and only those that count are kept: that is quicker than a branch.
void ConvBlock::ListSummands(const float* output_gradient, int64_t output_row_stride,
                             const uint8_t* winners, bool by_position, ConvScratch& scratch,
                             float* bias_sums) const {
  const int64_t channels = shape_.out_channels;
  scratch.by_channel.resize(channels * (windows() + 1));
  scratch.channel_count.assign(channels, 0);
  if (by_position) {
    scratch.by_position.resize(windows() * 4 * channels);
    scratch.position_count.resize(windows() * 4);
  }
  const int64_t position_offsets[5] = {0, shape_.in_channels, shape_.input_row_stride,
                                       shape_.input_row_stride + shape_.in_channels, 0};
  for (int64_t window = 0; window < windows(); ++window) {
    const int64_t y = window / (shape_.width / 2);
    const int64_t x = window % (shape_.width / 2);
    const float* gradient = output_gradient + y * output_row_stride + x * channels;
    const uint8_t* winner = winners + window * channels;
    const int64_t place = 2 * y * shape_.input_row_stride + 2 * x * shape_.in_channels;
    int64_t counts[5] = {0, 0, 0, 0, 0};
    for (int64_t c = 0; c < channels; ++c) {
      const bool counts_in = winner[c] != kNoWinner && gradient[c] != 0;
      bias_sums[c] += counts_in ? gradient[c] : 0;
      int64_t& count = scratch.channel_count[c];
      scratch.by_channel[c * (windows() + 1) + count] = {place + position_offsets[winner[c]],
                                                         gradient[c]};
      count += counts_in;
      if (by_position && counts_in) {
        ScaledRow* list = &scratch.by_position[(window * 4 + winner[c]) * channels];
        list[counts[winner[c]]++] = {c * shape_.kernel * padded_kernel_row_, gradient[c]};
      }
    }
    if (by_position) std::copy(counts, counts + 4, &scratch.position_count[window * 4]);
  }
}

void ConvBlock::AddInputGradient(const ConvScratch& scratch, float* input_gradient) const {
  // Row by row of the kernel: that many of the weights stay in the nearest cache.
  for (int64_t row = 0; row < shape_.kernel; ++row) {
    for (int64_t window = 0; window < windows(); ++window) {
      const int64_t y = 2 * (window / (shape_.width / 2));
      const int64_t x = 2 * (window % (shape_.width / 2));
      for (int64_t position = 0; position < 4; ++position) {
        const int64_t list = window * 4 + position;
        if (scratch.position_count[list] == 0) continue;
        float* to = input_gradient + (y + position / 2 + row) * shape_.input_row_stride +
                    (x + position % 2) * shape_.in_channels;
        kernels_.add_scaled_rows(
            &scratch.by_position[list * shape_.out_channels], scratch.position_count[list],
            transposed_.data() + row * padded_kernel_row_, 0, 1, kernel_row_, to, 0);
      }
    }
  }
}

void ConvBlock::Clear(ConvGradient& sum) const {
  sum.weights.assign(shape_.out_channels * shape_.kernel * padded_kernel_row_, 0);
  sum.biases.assign(shape_.out_channels, 0);
}

void ConvBlock::Backward(const float* input, const float* output_gradient,
                         int64_t output_row_stride, const uint8_t* winners, ConvScratch& scratch,
                         ConvGradient& sum, float* input_gradient) const {
  const int64_t channel_size = shape_.kernel * padded_kernel_row_;
  ListSummands(output_gradient, output_row_stride, winners, input_gradient != nullptr, scratch,
               sum.biases.data());
  for (int64_t c = 0; c < shape_.out_channels; ++c) {
    kernels_.add_scaled_rows(&scratch.by_channel[c * (windows() + 1)], scratch.channel_count[c],
                             input, shape_.input_row_stride, shape_.kernel, kernel_row_,
                             sum.weights.data() + c * channel_size, padded_kernel_row_);
  }
  if (input_gradient != nullptr) AddInputGradient(scratch, input_gradient);
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

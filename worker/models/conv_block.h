// SPDX-License-Identifier: Apache-2.0

// Convolution, bias, ReLU and 2x2 max-pooling in one pass, forward and backward, one image at a
// time.
//
//   h      = convolution of the input ("SAME": zeros outside of the image, stride 1) + bias
//   output = max(0, maximum of h over a 2x2 window)
//
// Where derivatives do not exist, the first of equal maxima in row-major order takes the whole
// gradient, and the ReLU's derivative at 0 is 0. So at most one of the four positions of a window
// carries gradient, and the backward pass computes only that one.

#ifndef PERCENTDELTA_WORKER_MODELS_CONV_BLOCK_H_
#define PERCENTDELTA_WORKER_MODELS_CONV_BLOCK_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/base/thread_pool.h"
#include "worker/kernels/kernels.h"
#include "worker/models/aligned_floats.h"

namespace percentdelta {

// Images of floats (height, width, channels) with a border of zeros, one after another.
class PaddedImages {
 public:
  PaddedImages(int64_t height, int64_t width, int64_t channels, int64_t border);

  // Makes room for `count` images and keeps the existing ones. New images are all zeros.
  void Reserve(int64_t count);

  // Image n: the first pixel of its border, and the first of its own pixels.
  float* image(int64_t n) { return values_.data() + n * image_stride_; }
  float* interior(int64_t n) { return image(n) + interior_offset_; }

  int64_t row_stride() const { return row_stride_; }
  int64_t image_stride() const { return image_stride_; }

 private:
  const int64_t row_stride_;
  const int64_t image_stride_;
  const int64_t interior_offset_;
  AlignedFloats values_;  // kPadding floats more than the images
};

// The sums of some images' gradients, in a layout of its own: see Clear, Backward and Combine.
struct ConvGradient {
  AlignedFloats weights;      // (out_channels, kernel, kernel * in_channels, padded)
  std::vector<float> biases;  // (out_channels)
};

// The const methods may be called from several threads at once.
class ConvBlock {
 public:
  // Sets `shape.input_row_stride`. The kernels must outlive the block.
  ConvBlock(ConvShape shape, const Kernels& kernels);

  const ConvShape& shape() const { return shape_; }
  int64_t outputs() const { return shape_.height / 2 * (shape_.width / 2) * shape_.out_channels; }
  PaddedImages MakeInput() const;

  // Sets the weights (kernel, kernel, in_channels, out_channels) and biases (out_channels) for
  // Forward, and those for Backward, which needs them only for the gradient of the input.
  void SetForwardWeights(absl::Span<const float> weights, absl::Span<const float> biases);
  void SetBackwardWeights(absl::Span<const float> weights);

  // `input` is an image with border. Writes output pixel (y, x) to output[y * output_row_stride +
  // x * out_channels], and `winners` (outputs()) for Backward. Resizes `scratch` as needed.
  void Forward(const float* input, AlignedFloats& scratch, float* output, int64_t output_row_stride,
               uint8_t* winners) const;

  // Resizes `sum` to fit, and sets it to 0.
  void Clear(ConvGradient& sum) const;

  // Adds one image's gradient, given that of its output, to `sum` and, unless null, to
  // `input_gradient`, an image whose border is unspecified. The order of each sum is in kernels.h.
  void Backward(const float* input, const float* output_gradient, int64_t output_row_stride,
                const uint8_t* winners, ConvGradient& sum, float* input_gradient) const;

  // Adds `parts`, in their order, into the layout of weights and biases.
  void Combine(absl::Span<const ConvGradient> parts, ThreadPool& pool, absl::Span<float> weights,
               absl::Span<float> biases) const;

 private:
  const ConvShape shape_;
  const Kernels& kernels_;
  const int64_t kernel_row_;         // kernel * in_channels
  const int64_t padded_kernel_row_;  // rounded up to kPadding

  AlignedFloats packed_;
  std::vector<float> biases_;
  AlignedFloats transposed_;  // (kernel, out_channels, padded_kernel_row_)
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_CONV_BLOCK_H_

// SPDX-License-Identifier: Apache-2.0

// The paper's network for MNIST, from TensorFlow's tutorial:
//
//   conv1  5x5, 32 channels, bias, ReLU, 2x2 max-pool   28x28x1  -> 14x14x32
//   conv2  5x5, 64 channels, bias, ReLU, 2x2 max-pool            -> 7x7x64
//   fc1    bias, ReLU; dropout if the job sets it        3136    -> 1024
//   fc2    bias                                                  -> 10
//   mean softmax cross-entropy over the batch
//
// TensorFlow's layouts: images (y, x, channel), flattened in this order; convolution weights
// (kernel y, kernel x, in, out); matrices (in, out). Of equal maxima in a pooling window the first
// in row-major order takes the gradient; the ReLU's derivative at 0 is 0.

#ifndef PERCENTDELTA_WORKER_MODELS_MNIST_CNN_H_
#define PERCENTDELTA_WORKER_MODELS_MNIST_CNN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "worker/data/dataset.h"
#include "worker/kernels/kernels.h"
#include "worker/models/aligned_floats.h"
#include "worker/models/architecture.h"
#include "worker/models/conv_block.h"
#include "worker/models/dense.h"
#include "worker/models/dropout.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {

// The defaults are the paper's; tests use smaller ones.
struct CnnGeometry {
  int64_t height = 28;  // of the image, one channel; a multiple of 4
  int64_t width = 28;   // a multiple of 4
  int64_t kernel = 5;   // odd
  int64_t conv1_channels = 32;
  int64_t conv2_channels = 64;
  int64_t fc1_outputs = 1024;
  int64_t classes = 10;
};

// The tensors of the network in the job's order: weights and biases of conv1, conv2, fc1, fc2.
std::vector<NamedShape> CnnTensors(const CnnGeometry& geometry);

// See Model. `gradient_ready` is called from the last tensor to the first.
//
// Memory: about 120 KB for each image of the largest batch, and 7 MB. Evaluate splits its batch
// into parts of 500.
class MnistCnn : public Model {
 public:
  // In training, units of fc1 are kept with the given probability; 0: all are kept. The kernels and
  // the pool must outlive the model.
  MnistCnn(const CnnGeometry& geometry, const Kernels& kernels, ThreadPool& pool,
           double dropout_keep_probability = 0);

  // Besides the hooks' errors they return kInvalidArgument for a batch without images or of another
  // size than the geometry's, for a label that is not below `classes`, and for weights of other
  // sizes.
  absl::StatusOr<BatchResult> Gradient(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks, TensorValues& gradient) override;
  absl::StatusOr<BatchResult> Evaluate(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks) override;

  absl::Status CheckDataset(const Dataset& dataset) const override;

  std::string arithmetic() const override { return kernels_.arithmetic; }

 private:
  absl::Status CheckSides(int64_t rows, int64_t columns) const;
  absl::Status CheckImages(const Batch& batch) const;

  // Awaits a layer: `tensor`, its weights, and the next one, its biases.
  absl::Status AwaitLayer(int tensor, const TensorValues& weights, const TensorHooks& hooks) const;
  void Reserve(int64_t count);

  // The forward pass over `count` images of the batch from `begin` on, up to the logits; with
  // dropout if `training`.
  absl::Status Forward(const TensorValues& weights, const Batch& batch, int64_t begin,
                       int64_t count, bool training, const TensorHooks& hooks);
  void ForwardConv1(const Batch& batch, int64_t begin, int64_t count);
  void ForwardConv2(int64_t count);

  // Adds the images' losses to `result`. If `gradient`, writes logits_gradient_.
  void Loss(const Batch& batch, int64_t begin, int64_t count, bool gradient, BatchResult& result);

  // The backward pass from logits_gradient_ to every tensor's gradient.
  void Backward(const TensorValues& weights, int64_t count, const TensorHooks& hooks,
                TensorValues& gradient);
  void BackwardConvs(const TensorValues& weights, int64_t count);

  const CnnGeometry geometry_;
  const std::vector<NamedShape> tensors_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  ConvBlock conv1_;
  ConvBlock conv2_;
  const Dense fc1_;
  const Dropout dropout_;
  const Dense fc2_;

  // The current batch, image after image.
  PaddedImages conv1_input_;
  PaddedImages conv2_input_;
  std::vector<uint8_t> conv1_winners_;
  std::vector<uint8_t> conv2_winners_;
  AlignedFloats fc1_input_, fc1_input_gradient_;
  AlignedFloats fc1_output_, fc1_output_gradient_;
  AlignedFloats logits_, logits_gradient_;

  // The gradients of the batch's tiles.
  std::vector<ConvGradient> conv1_parts_;
  std::vector<ConvGradient> conv2_parts_;
};

extern const Architecture kMnistCnnArchitecture;  // "mnist_cnn"

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_MNIST_CNN_H_

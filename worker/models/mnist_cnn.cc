// SPDX-License-Identifier: Apache-2.0

#include "worker/models/mnist_cnn.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/kernels/kernels.h"
#include "worker/models/architecture.h"
#include "worker/models/conv_block.h"
#include "worker/models/dense.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"
#include "worker/models/softmax.h"

namespace percentdelta {
namespace {

// Positions in the job's list of tensors: of the weights; the biases follow.
enum Tensor { kConv1 = 0, kConv2 = 2, kFc1 = 4, kFc2 = 6 };

// Images that one thread takes at a time. The size of the backward tiles determines bits: each
// tile's gradient is a separate sum, and the sums are added in the order of the tiles.
constexpr int64_t kForwardTile = 4;
constexpr int64_t kBackwardTile = 16;

constexpr int64_t kEvaluationPart = 500;

int64_t TilesOf(int64_t count, int64_t tile) { return (count + tile - 1) / tile; }

ConvShape Conv1Shape(const CnnGeometry& g) {
  return {.height = g.height,
          .width = g.width,
          .in_channels = 1,
          .out_channels = g.conv1_channels,
          .kernel = g.kernel,
          .input_row_stride = 0};
}

ConvShape Conv2Shape(const CnnGeometry& g) {
  return {.height = g.height / 2,
          .width = g.width / 2,
          .in_channels = g.conv1_channels,
          .out_channels = g.conv2_channels,
          .kernel = g.kernel,
          .input_row_stride = 0};
}

}  // namespace

std::vector<NamedShape> CnnTensors(const CnnGeometry& g) {
  const int64_t flat = g.height / 4 * (g.width / 4) * g.conv2_channels;
  return {{"conv1/weights", {g.kernel, g.kernel, 1, g.conv1_channels}},
          {"conv1/biases", {g.conv1_channels}},
          {"conv2/weights", {g.kernel, g.kernel, g.conv1_channels, g.conv2_channels}},
          {"conv2/biases", {g.conv2_channels}},
          {"fc1/weights", {flat, g.fc1_outputs}},
          {"fc1/biases", {g.fc1_outputs}},
          {"fc2/weights", {g.fc1_outputs, g.classes}},
          {"fc2/biases", {g.classes}}};
}

MnistCnn::MnistCnn(const CnnGeometry& geometry, const Kernels& kernels, ThreadPool& pool,
                   double dropout_keep_probability)
    : geometry_(geometry),
      tensors_(CnnTensors(geometry)),
      kernels_(kernels),
      pool_(pool),
      conv1_(Conv1Shape(geometry), kernels),
      conv2_(Conv2Shape(geometry), kernels),
      fc1_(conv2_.outputs(), geometry.fc1_outputs, true, kernels, pool),
      dropout_(dropout_keep_probability, geometry.fc1_outputs, pool),
      fc2_(geometry.fc1_outputs, geometry.classes, false, kernels, pool),
      conv1_input_(conv1_.MakeInput()),
      conv2_input_(conv2_.MakeInput()) {}

absl::Status MnistCnn::CheckSides(int64_t rows, int64_t columns) const {
  if (rows == geometry_.height && columns == geometry_.width) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("images of ", rows, " x ", columns,
                                                 " pixels; the model takes ", geometry_.height,
                                                 " x ", geometry_.width));
}

absl::Status MnistCnn::CheckImages(const Batch& batch) const {
  if (batch.count > 0) {
    RETURN_IF_ERROR(CheckSides(batch.rows, batch.columns));
  }
  return CheckBatch(batch, geometry_.classes);
}

absl::Status MnistCnn::CheckDataset(const Dataset& dataset) const {
  RETURN_IF_ERROR(CheckSides(dataset.rows, dataset.columns));
  return CheckExamples(dataset, geometry_.classes);
}

absl::Status MnistCnn::AwaitLayer(int tensor, const TensorValues& weights,
                                  const TensorHooks& hooks) const {
  for (int t = tensor; t < tensor + 2; ++t) {
    RETURN_IF_ERROR(AwaitWeights(tensors_, t, weights, hooks));
  }
  return absl::OkStatus();
}

void MnistCnn::Reserve(int64_t count) {
  const auto reserve = [count](auto& values, int64_t size) {
    if (values.size() < static_cast<size_t>(count * size)) values.resize(count * size);
  };
  conv1_input_.Reserve(count);
  conv2_input_.Reserve(count);
  reserve(conv1_winners_, conv1_.outputs());
  reserve(conv2_winners_, conv2_.outputs());
  reserve(fc1_input_, fc1_.inputs());
  reserve(fc1_output_, fc1_.outputs());
  reserve(logits_, fc2_.outputs());
}

void MnistCnn::ForwardConv1(const Batch& batch, int64_t begin, int64_t count) {
  const int64_t pixels = geometry_.height * geometry_.width;
  pool_.ParallelFor(TilesOf(count, kForwardTile), [&](int64_t tile) {
    AlignedFloats scratch;
    const int64_t end = std::min(count, (tile + 1) * kForwardTile);
    for (int64_t n = tile * kForwardTile; n < end; ++n) {
      for (int64_t y = 0; y < geometry_.height; ++y) {
        std::copy_n(batch.pixels.data() + (begin + n) * pixels + y * geometry_.width,
                    geometry_.width, conv1_input_.interior(n) + y * conv1_input_.row_stride());
      }
      conv1_.Forward(conv1_input_.image(n), scratch, conv2_input_.interior(n),
                     conv2_input_.row_stride(), conv1_winners_.data() + n * conv1_.outputs());
    }
  });
}

void MnistCnn::ForwardConv2(int64_t count) {
  const int64_t row_stride = geometry_.width / 4 * geometry_.conv2_channels;
  pool_.ParallelFor(TilesOf(count, kForwardTile), [&](int64_t tile) {
    AlignedFloats scratch;
    const int64_t end = std::min(count, (tile + 1) * kForwardTile);
    for (int64_t n = tile * kForwardTile; n < end; ++n) {
      conv2_.Forward(conv2_input_.image(n), scratch, fc1_input_.data() + n * conv2_.outputs(),
                     row_stride, conv2_winners_.data() + n * conv2_.outputs());
    }
  });
}

absl::Status MnistCnn::Forward(const TensorValues& weights, const Batch& batch, int64_t begin,
                               int64_t count, bool training, const TensorHooks& hooks) {
  Reserve(count);
  RETURN_IF_ERROR(AwaitLayer(kConv1, weights, hooks));
  conv1_.SetForwardWeights(weights[kConv1], weights[kConv1 + 1]);
  ForwardConv1(batch, begin, count);
  RETURN_IF_ERROR(AwaitLayer(kConv2, weights, hooks));
  conv2_.SetForwardWeights(weights[kConv2], weights[kConv2 + 1]);
  ForwardConv2(count);
  RETURN_IF_ERROR(AwaitLayer(kFc1, weights, hooks));
  fc1_.Forward(count, fc1_input_, weights[kFc1], weights[kFc1 + 1], absl::MakeSpan(fc1_output_));
  if (training) dropout_.Forward(batch.random_key, count, absl::MakeSpan(fc1_output_));
  RETURN_IF_ERROR(AwaitLayer(kFc2, weights, hooks));
  fc2_.Forward(count, fc1_output_, weights[kFc2], weights[kFc2 + 1], absl::MakeSpan(logits_));
  return absl::OkStatus();
}

void MnistCnn::Loss(const Batch& batch, int64_t begin, int64_t count, bool gradient,
                    BatchResult& result) {
  const int64_t classes = geometry_.classes;
  if (gradient) logits_gradient_.resize(count * classes);
  for (int64_t n = 0; n < count; ++n) {
    const absl::Span<const float> logits =
        absl::MakeConstSpan(logits_).subspan(n * classes, classes);
    absl::Span<float> logits_gradient;
    if (gradient) {
      logits_gradient = absl::MakeSpan(logits_gradient_).subspan(n * classes, classes);
    }
    const int label = batch.labels[begin + n];
    result.loss_sum += SoftmaxCrossEntropy(logits, label, batch.count, logits_gradient);
    result.correct += ArgMax(logits) == label ? 1 : 0;
  }
  result.examples += count;
}

absl::StatusOr<BatchResult> MnistCnn::Gradient(const TensorValues& weights, const Batch& batch,
                                               const TensorHooks& hooks, TensorValues& gradient) {
  RETURN_IF_ERROR(CheckImages(batch));
  RETURN_IF_ERROR(Forward(weights, batch, 0, batch.count, true, hooks));
  BatchResult result;
  Loss(batch, 0, batch.count, true, result);
  gradient.resize(tensors_.size());
  for (size_t t = 0; t < tensors_.size(); ++t) gradient[t].resize(tensors_[t].size());
  Backward(weights, batch.count, hooks, gradient);
  return result;
}

absl::StatusOr<BatchResult> MnistCnn::Evaluate(const TensorValues& weights, const Batch& batch,
                                               const TensorHooks& hooks) {
  RETURN_IF_ERROR(CheckImages(batch));
  BatchResult result;
  TensorHooks part_hooks = hooks;
  for (int64_t begin = 0; begin < batch.count; begin += kEvaluationPart) {
    const int64_t count = std::min(kEvaluationPart, batch.count - begin);
    RETURN_IF_ERROR(Forward(weights, batch, begin, count, false, part_hooks));
    Loss(batch, begin, count, false, result);
    part_hooks = {};  // from here on all weights are available
  }
  return result;
}

void MnistCnn::Backward(const TensorValues& weights, int64_t count, const TensorHooks& hooks,
                        TensorValues& gradient) {
  const auto ready = [&hooks](int tensor) {
    if (hooks.gradient_ready) hooks.gradient_ready(tensor);
  };
  fc2_.BiasesGradient(count, logits_gradient_, absl::MakeSpan(gradient[kFc2 + 1]));
  ready(kFc2 + 1);
  fc2_.WeightsGradient(count, fc1_output_, logits_gradient_, absl::MakeSpan(gradient[kFc2]));
  ready(kFc2);

  fc1_output_gradient_.resize(count * fc1_.outputs());
  fc2_.InputGradient(count, logits_gradient_, weights[kFc2], absl::MakeSpan(fc1_output_gradient_));
  dropout_.Backward(count, absl::MakeSpan(fc1_output_gradient_));
  fc1_.BackwardRelu(count, fc1_output_, absl::MakeSpan(fc1_output_gradient_));
  fc1_.BiasesGradient(count, fc1_output_gradient_, absl::MakeSpan(gradient[kFc1 + 1]));
  ready(kFc1 + 1);
  fc1_.WeightsGradient(count, fc1_input_, fc1_output_gradient_, absl::MakeSpan(gradient[kFc1]));
  ready(kFc1);

  fc1_input_gradient_.resize(count * fc1_.inputs());
  fc1_.InputGradient(count, fc1_output_gradient_, weights[kFc1],
                     absl::MakeSpan(fc1_input_gradient_));
  BackwardConvs(weights, count);
  const int64_t parts = TilesOf(count, kBackwardTile);
  conv2_.Combine(absl::MakeConstSpan(conv2_parts_).first(parts), pool_,
                 absl::MakeSpan(gradient[kConv2]), absl::MakeSpan(gradient[kConv2 + 1]));
  ready(kConv2 + 1);
  ready(kConv2);
  conv1_.Combine(absl::MakeConstSpan(conv1_parts_).first(parts), pool_,
                 absl::MakeSpan(gradient[kConv1]), absl::MakeSpan(gradient[kConv1 + 1]));
  ready(kConv1 + 1);
  ready(kConv1);
}

// Both convolutions of an image one after the other, while the image is in the cache.
void MnistCnn::BackwardConvs(const TensorValues& weights, int64_t count) {
  conv2_.SetBackwardWeights(weights[kConv2]);
  const int64_t tiles = TilesOf(count, kBackwardTile);
  if (conv1_parts_.size() < static_cast<size_t>(tiles)) conv1_parts_.resize(tiles);
  if (conv2_parts_.size() < static_cast<size_t>(tiles)) conv2_parts_.resize(tiles);
  const int64_t row_stride = geometry_.width / 4 * geometry_.conv2_channels;
  pool_.ParallelFor(tiles, [&](int64_t tile) {
    PaddedImages conv2_input_gradient = conv2_.MakeInput();
    conv2_input_gradient.Reserve(1);
    conv1_.Clear(conv1_parts_[tile]);
    conv2_.Clear(conv2_parts_[tile]);
    const int64_t end = std::min(count, (tile + 1) * kBackwardTile);
    for (int64_t n = tile * kBackwardTile; n < end; ++n) {
      std::fill_n(conv2_input_gradient.image(0), conv2_input_gradient.image_stride(), 0.0F);
      conv2_.Backward(conv2_input_.image(n), fc1_input_gradient_.data() + n * conv2_.outputs(),
                      row_stride, conv2_winners_.data() + n * conv2_.outputs(), conv2_parts_[tile],
                      conv2_input_gradient.image(0));
      conv1_.Backward(conv1_input_.image(n), conv2_input_gradient.interior(0),
                      conv2_input_gradient.row_stride(),
                      conv1_winners_.data() + n * conv1_.outputs(), conv1_parts_[tile], nullptr);
    }
  });
}

const Architecture kMnistCnnArchitecture = {
    .name = "mnist_cnn",
    .data_advice = "deploy/fetch-data (as deploy/quickstart does) puts MNIST into data/mnist",
    .tensors = [](const ModelSpec& /*spec*/) { return CnnTensors(CnnGeometry()); },
    .has_dropout = true,
    .make = [](const ModelSpec& spec, const Kernels& kernels,
               ThreadPool& pool) -> std::unique_ptr<Model> {
      return std::make_unique<MnistCnn>(CnnGeometry(), kernels, pool,
                                        spec.dropout_keep_probability);
    },
};

}  // namespace percentdelta

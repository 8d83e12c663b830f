// SPDX-License-Identifier: Apache-2.0

// A fully connected layer over a whole batch: y = x W + b, with a ReLU or without.
//
// Every entry of every result is a chain of multiply-adds in ascending order of the index summed
// over (inputs, outputs or examples): tiles and threads change no bit. The ReLU's derivative at 0
// is 0.

#ifndef PERCENTDELTA_WORKER_MODELS_DENSE_H_
#define PERCENTDELTA_WORKER_MODELS_DENSE_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/base/thread_pool.h"
#include "worker/kernels/kernels.h"

namespace percentdelta {

// Matrices are row-major: x (examples, inputs), y (examples, outputs), W (inputs, outputs), and
// their gradients likewise. The kernels and the pool must outlive the layer.
class Dense {
 public:
  Dense(int64_t inputs, int64_t outputs, bool relu, const Kernels& kernels, ThreadPool& pool);

  int64_t inputs() const { return inputs_; }
  int64_t outputs() const { return outputs_; }

  void Forward(int64_t examples, absl::Span<const float> x, absl::Span<const float> weights,
               absl::Span<const float> biases, absl::Span<float> y) const;

  // Turns the gradient of y into that of x W + b, in place: 0 where the ReLU was closed. Does
  // nothing without a ReLU. The other gradients are computed from the result.
  void BackwardRelu(int64_t examples, absl::Span<const float> y,
                    absl::Span<float> y_gradient) const;

  void WeightsGradient(int64_t examples, absl::Span<const float> x,
                       absl::Span<const float> y_gradient, absl::Span<float> gradient) const;
  void BiasesGradient(int64_t examples, absl::Span<const float> y_gradient,
                      absl::Span<float> gradient) const;
  void InputGradient(int64_t examples, absl::Span<const float> y_gradient,
                     absl::Span<const float> weights, absl::Span<float> gradient) const;

 private:
  const int64_t inputs_;
  const int64_t outputs_;
  const bool relu_;
  const Kernels& kernels_;
  ThreadPool& pool_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_DENSE_H_

// SPDX-License-Identifier: Apache-2.0

// Dropout (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
// 2014) in the inverted form: a unit of a layer's output is kept with a probability and then
// multiplied by its inverse, or else set to zero. Evaluation uses the layer unchanged.

#ifndef PERCENTDELTA_WORKER_MODELS_DROPOUT_H_
#define PERCENTDELTA_WORKER_MODELS_DROPOUT_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/base/thread_pool.h"

namespace percentdelta {

// For a layer that ends with a ReLU. Outputs are row-major (examples, units). The pool must outlive
// it.
class Dropout {
 public:
  // `keep_probability` is in 0..1; 0 and 1 both switch dropout off.
  Dropout(double keep_probability, int64_t units, ThreadPool& pool);

  // Drops units of the layer's output, in place. Keeps unit u of example n if the u-th number of
  //   RandomStream(key, n)
  // is below the probability, whatever the number of threads.
  void Forward(uint64_t key, int64_t examples, absl::Span<float> outputs) const;

  // Turns the gradient of Forward's result into that of Forward's input, in place. Only correct
  // where Forward's result is not zero: elsewhere the ReLU's derivative, which reads that result,
  // must set the gradient to zero.
  void Backward(int64_t examples, absl::Span<float> gradient) const;

 private:
  const double keep_probability_;
  const int64_t units_;
  const float scale_;  // 1: dropout is off
  ThreadPool& pool_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_DROPOUT_H_

// Dropout (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
// 2014) in the inverted form: a unit of a layer's output is kept with a probability, and then
// multiplied by its inverse, or else zero. Evaluation takes the layer as it is.

#ifndef PERCENTDELTA_WORKER_MODELS_DROPOUT_H_
#define PERCENTDELTA_WORKER_MODELS_DROPOUT_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/base/thread_pool.h"

namespace percentdelta {

// Of a layer that ends with a ReLU. Outputs are row-major (examples, units). The pool must outlive
// it.
class Dropout {
 public:
  // `keep_probability` in 0..1; with 0 and 1 nothing is dropped, and nothing done.
  Dropout(double keep_probability, int64_t units, ThreadPool& pool);

  // Drops units of the layer's output, in place. Unit u of example n is kept if the u-th number of
  //   RandomStream(key, n)
  // is below the probability: which ones does not depend on threads.
  void Forward(uint64_t key, int64_t examples, absl::Span<float> outputs) const;

  // Turns the gradient of what Forward left into that of what it was given, in place, where that
  // was not zero; where it was, the ReLU's own derivative, which reads what Forward left, makes it
  // zero.
  void Backward(int64_t examples, absl::Span<float> gradient) const;

 private:
  const double keep_probability_;
  const int64_t units_;
  const float scale_;  // 1: nothing is dropped
  ThreadPool& pool_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_DROPOUT_H_

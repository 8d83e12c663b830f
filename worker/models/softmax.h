// Softmax and cross-entropy, in double and with functions of its own: the C library's exp and log
// differ between versions and processors, these do not.

#ifndef PERCENTDELTA_WORKER_MODELS_SOFTMAX_H_
#define PERCENTDELTA_WORKER_MODELS_SOFTMAX_H_

#include <cstdint>

#include "absl/types/span.h"

namespace percentdelta {

// exp(x) for x <= 0 and log(x) for finite x > 0, to a relative error below 1e-15 (absolute, near
// log's zero), the same bits everywhere. NaN gives NaN.
double PortableExp(double x);
double PortableLog(double x);

// Of one example: the loss -log softmax(logits)[label], by way of the largest logit, so that
// nothing overflows. Writes the loss's gradient divided by `examples` to `gradient` unless it is
// empty. A logit that is not finite may give a loss that is not finite. `label` must be below
// logits.size().
double SoftmaxCrossEntropy(absl::Span<const float> logits, int label, int64_t examples,
                           absl::Span<float> gradient);

// The index of the largest entry, the first of equals.
int ArgMax(absl::Span<const float> values);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_SOFTMAX_H_

// SPDX-License-Identifier: Apache-2.0

// Softmax and cross-entropy, in double, with an exp and a log that give the same bits on every
// machine (common/base/portable_math.h).

#ifndef PERCENTDELTA_WORKER_MODELS_SOFTMAX_H_
#define PERCENTDELTA_WORKER_MODELS_SOFTMAX_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/base/portable_math.h"  // IWYU pragma: export

namespace percentdelta {

// Returns the loss of one example, -log softmax(logits)[label]. Subtracts the largest logit first,
// so that nothing overflows. Writes the loss's gradient divided by `examples` to `gradient` unless
// that is empty. A logit that is not finite may give a loss that is not finite. `label` must be
// below logits.size().
double SoftmaxCrossEntropy(absl::Span<const float> logits, int label, int64_t examples,
                           absl::Span<float> gradient);

// Returns the index of the largest entry, the first of equals.
int ArgMax(absl::Span<const float> values);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_SOFTMAX_H_

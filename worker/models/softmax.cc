// SPDX-License-Identifier: Apache-2.0

#include "worker/models/softmax.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace percentdelta {

int ArgMax(absl::Span<const float> values) {
  int best = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    if (values[i] > values[best]) best = static_cast<int>(i);
  }
  return best;
}

double SoftmaxCrossEntropy(absl::Span<const float> logits, int label, int64_t examples,
                           absl::Span<float> gradient) {
  const double largest = logits[ArgMax(logits)];
  double sum = 0;
  for (const float logit : logits) sum += PortableExp(logit - largest);
  for (size_t i = 0; i < gradient.size(); ++i) {
    const double probability = PortableExp(logits[i] - largest) / sum;
    const double target = static_cast<int>(i) == label ? 1 : 0;
    gradient[i] = static_cast<float>((probability - target) / static_cast<double>(examples));
  }
  return PortableLog(sum) - (logits[label] - largest);
}

}  // namespace percentdelta

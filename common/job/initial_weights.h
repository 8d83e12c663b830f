// SPDX-License-Identifier: Apache-2.0

// The weights before the first step, as the initializers of a job draw them.

#ifndef PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_
#define PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/job/job.h"

namespace percentdelta {

// Draws the entries [begin, begin + values.size()) of the flattened tensor, which must have an
// initializer other than FileInitializer. Entry i depends only on (seed, tensor name, i), not on
// the process that draws it or on the range, and is the same on every machine: only IEEE 754's own
// operations and portable_math.h are used, in double, rounded to float at the end.
//
// Each entry has a RandomStream (random.h) of its own, whose Uniform() is u below:
//   truncated normal  rejection: x = 2 * (2u - 1), until u < exp(-x^2 / 2); stddev * x
//   normal            the polar method (Marsaglia and Bray, 1964; Knuth, TAOCP 2, 3.4.1,
//                     Algorithm P): x = 2u - 1, y = 2u - 1, s = x^2 + y^2, until 0 < s < 1;
//                     mean + stddev * (x * sqrt(-2 * log(s) / s))
//   uniform           low and high rounded to float, low + (high - low) * u, until it is less than
//                     high when it is rounded to float
//   glorot_..., he_.. normal with mean 0 and the standard deviation of ScaledStddev(), or uniform
//                     in [-a, a) with a = sqrt(3) * that deviation
void DrawInitialWeights(const TensorSpec& tensor, uint64_t seed, int64_t begin,
                        absl::Span<float> values);

// Of a unit: numbers of inputs and of outputs, each times the entries of a convolution's kernel.
struct Fans {
  double inputs = 0;
  double outputs = 0;
};

// `shape` has at least two dimensions; `layout` is valid.
Fans FansOf(const std::vector<int64_t>& shape, Layout layout);

// The standard deviation of a tensor of that shape: gain * sqrt(2 / (inputs + outputs)) for the
// Glorot initializers, gain * sqrt(2 / inputs) for the He ones.
double ScaledStddev(const ScaledInitializer& initializer, const std::vector<int64_t>& shape);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_

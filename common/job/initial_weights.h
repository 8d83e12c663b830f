// SPDX-License-Identifier: Apache-2.0

// The weights before the first step.

#ifndef PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_
#define PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/job/job.h"

namespace percentdelta {

// Draws the entries [begin, begin + values.size()) of the flattened tensor. Entry i depends only on
// (seed, tensor name, i), not on the process that draws it or on the range.
//
// Draws truncated normals by rejection from the uniform distribution over two standard deviations
// on either side, with PortableExp (portable_math.h): the values are the same on every machine.
void DrawInitialWeights(const TensorSpec& tensor, uint64_t seed, int64_t begin,
                        absl::Span<float> values);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_

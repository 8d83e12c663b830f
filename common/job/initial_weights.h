// The weights before the first step.

#ifndef PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_
#define PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/job/job.h"

namespace percentdelta {

// Draws the entries [begin, begin + values.size()) of the flattened tensor. Entry i is a function
// of (seed, tensor name, i) alone: it does not matter who draws it, or in what pieces.
//
// Truncated normals are drawn by rejection from the uniform on two standard deviations either
// side, with PortableExp (portable_math.h): the values are the same on every machine.
void DrawInitialWeights(const TensorSpec& tensor, uint64_t seed, int64_t begin,
                        absl::Span<float> values);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_H_

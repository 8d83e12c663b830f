// SPDX-License-Identifier: Apache-2.0

// The weights before the first step, from the safetensors file that a job names in initial_weights.

#ifndef PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_FILE_H_
#define PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_FILE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/job/job.h"
#include "common/job/partition.h"

namespace percentdelta {

// Reads the values of `ranges`, tensors of the job, which must have initial_weights. Returns the
// values of each range; F16 and BF16 are widened, which is exact.
//
// Reads the file once, from its beginning to its end, and returns values out of the very bytes that
// it has hashed: whatever happens to the file meanwhile, they are those of a file with the job's
// hash. Allocates the ranges and one piece of the file, never the whole. The file need not be
// trusted. Errors name the file, the tensor, what was expected, and what came:
//   kFailedPrecondition  another hash, which is reported before anything else that is wrong; it is
//                        no regular file; it lacks a tensor, or has it with another shape, or with
//                        a dtype other than F32, F16 and BF16; a value of a range is infinite or
//                        NaN
//   kDataLoss            not a safetensors file, although it has the hash
//   others               the system's, but never kInvalidArgument
absl::StatusOr<std::vector<std::vector<float>>> ReadInitialWeights(
    const Job& job, absl::Span<const TensorRange> ranges);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_INITIAL_WEIGHTS_FILE_H_

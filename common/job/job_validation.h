// SPDX-License-Identifier: Apache-2.0

// Validation of jobs.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_VALIDATION_H_
#define PERCENTDELTA_COMMON_JOB_JOB_VALIDATION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/job/job.h"

namespace percentdelta {

// Checks everything that can be checked without the data and the worker's model.
// kInvalidArgument: the message names the field, the expectation and the actual value.
absl::Status ValidateJob(const Job& job);

// The warning, one sentence, if all entries of the tensor are zero at step 0. Empty: the job's rule
// can move such a tensor.
std::string WarningOfZeros(const Job& job, const TensorSpec& tensor);

// Warnings about valid jobs that are probably mistakes, one sentence each, to be shown at start.
std::vector<std::string> JobWarnings(const Job& job);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_VALIDATION_H_

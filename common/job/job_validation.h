// What a job may be.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_VALIDATION_H_
#define PERCENTDELTA_COMMON_JOB_JOB_VALIDATION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/job/job.h"

namespace percentdelta {

// Checks everything that can be checked without the data and the worker's model.
// kInvalidArgument: the message says which field, what was expected and what came.
absl::Status ValidateJob(const Job& job);

// What is legal and seldom meant, a sentence each: to be shown at start.
std::vector<std::string> JobWarnings(const Job& job);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_VALIDATION_H_

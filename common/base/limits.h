// The limits that a process runs under, for messages to those who can change them, and what fits.

#ifndef PERCENTDELTA_COMMON_BASE_LIMITS_H_
#define PERCENTDELTA_COMMON_BASE_LIMITS_H_

#include <string>

#include "absl/status/status.h"

namespace percentdelta {

// What may keep a process from starting a thread, as in "RLIMIT_NPROC (ulimit -u) 8, pids.max 512";
// limits that are not set are left out.
std::string ThreadLimits();

// What may keep it from getting memory, as in "RLIMIT_AS (ulimit -v) 1.0 GiB, this machine 15.6
// GiB".
std::string MemoryLimits();

// Starts that many threads, all at the same time, and ends them again. kResourceExhausted, with
// ThreadLimits in the message, if they cannot be: the libraries that start threads later do not
// survive it.
absl::Status CheckThreads(int count);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LIMITS_H_

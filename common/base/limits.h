// SPDX-License-Identifier: Apache-2.0

// The resource limits of this process, for messages to people who can raise them.

#ifndef PERCENTDELTA_COMMON_BASE_LIMITS_H_
#define PERCENTDELTA_COMMON_BASE_LIMITS_H_

#include <string>

#include "absl/status/status.h"

namespace percentdelta {

// The limits on starting threads, as in "RLIMIT_NPROC (ulimit -u) 8, pids.max 512". Omits limits
// that are not set.
std::string ThreadLimits();

// The limits on memory, as in "RLIMIT_AS (ulimit -v) 1.0 GiB, this machine 15.6 GiB".
std::string MemoryLimits();

// Checks that `count` threads can run at the same time, by starting and ending them.
// kResourceExhausted, with ThreadLimits in the message: they cannot. Libraries that start threads
// later would abort the process.
absl::Status CheckThreads(int count);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LIMITS_H_

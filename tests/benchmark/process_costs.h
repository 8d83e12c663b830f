// SPDX-License-Identifier: Apache-2.0

// The resources that a process has used so far.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_PROCESS_COSTS_H_
#define PERCENTDELTA_TESTS_BENCHMARK_PROCESS_COSTS_H_

#include <sys/types.h>

namespace percentdelta {

// Returns the processor time of all its threads, in milliseconds. 0 means the calling process.
double ProcessorMilliseconds(pid_t process);

// Returns its peak resident set, in MB.
double PeakMegabytes(pid_t process);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_PROCESS_COSTS_H_

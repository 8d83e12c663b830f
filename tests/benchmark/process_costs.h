// What a process has used of the machine so far.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_PROCESS_COSTS_H_
#define PERCENTDELTA_TESTS_BENCHMARK_PROCESS_COSTS_H_

#include <sys/types.h>

namespace percentdelta {

// Processor time of all its threads, in milliseconds. 0: the calling process.
double ProcessorMilliseconds(pid_t process);

// The most memory that it was resident with at a time, in MB.
double PeakMegabytes(pid_t process);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_PROCESS_COSTS_H_

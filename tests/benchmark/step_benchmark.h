// SPDX-License-Identifier: Apache-2.0

// A whole training step of a real cluster, one pd-server and one pd-worker over loopback, against
// the bare gradient on as many threads: the overhead of the parameter server in time and in
// processor time. And steps with checkpoints, against those of a cluster without: the overhead of
// checkpoints, and the largest delay of a step. And steps with mTLS, against those without.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_STEP_BENCHMARK_H_
#define PERCENTDELTA_TESTS_BENCHMARK_STEP_BENCHMARK_H_

namespace percentdelta {

// Registers BM_Step, BM_StepTls and BM_Checkpoint with this number of rounds. Must be called before
// the benchmarks run.
void RegisterStepBenchmarks(int rounds);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_STEP_BENCHMARK_H_

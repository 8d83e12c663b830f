// A whole training step of a real cluster, one pd-server and one pd-worker over loopback, against
// the bare gradient on as many threads: what the parameter server costs beside the gradient, in
// time and in processor time. And steps among which some are kept, against those of a cluster
// without checkpoints: what a checkpoint costs the training, and by how much it holds up a step.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_STEP_BENCHMARK_H_
#define PERCENTDELTA_TESTS_BENCHMARK_STEP_BENCHMARK_H_

namespace percentdelta {

// Adds BM_Step and BM_Checkpoint, of so many rounds. Before the benchmarks are run.
void RegisterStepBenchmarks(int rounds);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_STEP_BENCHMARK_H_

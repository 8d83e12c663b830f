// What the machine can do at most: the limits that the benchmarks are compared with, measured in
// the same run.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_
#define PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "common/thread_pool.h"

namespace percentdelta {

// Multiply-adds of a gradient of the paper's network over a batch, if every one is done: forward,
// and backward twice that, less conv1's input gradient.
int64_t DenseGradientMultiplyAdds(int64_t batch);

// Eigen's GEMM in the best instruction set that this program was built for and the processor has
// (see gemm.cc), split by columns over the pool.
class Gemm {
 public:
  // rows x depth times depth x columns.
  Gemm(int64_t rows, int64_t depth, int64_t columns);
  ~Gemm();
  void Run(ThreadPool& pool);
  int64_t multiply_adds() const { return rows_ * depth_ * columns_; }

 private:
  int64_t rows_, depth_, columns_;
  std::vector<float> a_, b_, c_;
};

// A TCP connection over loopback between two threads.
class LoopbackTransfer {
 public:
  explicit LoopbackTransfer(size_t bytes);
  ~LoopbackTransfer();

  // Sends the bytes one way in pieces of 1 MiB, and returns when the last has been read.
  void Run();

 private:
  struct Ends;
  std::unique_ptr<Ends> ends_;
};

// Reads `read` floats and writes `write` floats with all threads, as plainly as memcpy can.
class MemoryTraffic {
 public:
  MemoryTraffic(int64_t read, int64_t write);
  void Run(ThreadPool& pool);

 private:
  int64_t read_, write_;
  std::vector<float> source_, target_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_

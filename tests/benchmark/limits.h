// What the machine can do at most: the limits that the benchmarks are compared with.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_
#define PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/thread_pool.h"

namespace percentdelta {

// Eigen's product of two matrices in the best instruction set that this machine has (gemm.cc is
// compiled for it), the columns shared out among the pool's threads. Not thread-safe.
class Gemm {
 public:
  // A square matrix of 2048 times one of as many columns as make `multiply_adds`.
  explicit Gemm(int64_t multiply_adds);
  void Run(ThreadPool& pool);

 private:
  int64_t columns_;
  std::vector<float> a_, b_, c_;
};

// A TCP connection over loopback between two threads of this process. Not thread-safe; aborts
// where there is no loopback.
class LoopbackTransfer {
 public:
  explicit LoopbackTransfer(size_t bytes);
  ~LoopbackTransfer();
  LoopbackTransfer(const LoopbackTransfer&) = delete;
  LoopbackTransfer& operator=(const LoopbackTransfer&) = delete;

  // Sends the bytes one way in pieces of 1 MiB, and returns when the last has been read.
  void Run();

 private:
  int sender_ = -1;
  int receiver_ = -1;
  std::vector<char> source_, target_;
};

// memcpy that moves so many bytes altogether: half are read, half written. Not thread-safe.
class MemoryTraffic {
 public:
  explicit MemoryTraffic(size_t bytes) : source_(bytes / 2), target_(bytes / 2) {}
  void Run(ThreadPool& pool);

 private:
  std::vector<char> source_, target_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_

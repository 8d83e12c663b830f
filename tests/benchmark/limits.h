// SPDX-License-Identifier: Apache-2.0

// The limits of the machine, with which the benchmarks are compared.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_
#define PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/thread_pool.h"

namespace percentdelta {

// Eigen's matrix product in the best instruction set of this machine (for which gemm.cc is
// compiled), its columns divided among the pool's threads. Not thread-safe.
class Gemm {
 public:
  // The product of a 2048 x 2048 matrix and one with as many columns as give `multiply_adds`.
  explicit Gemm(int64_t multiply_adds);
  void Run(ThreadPool& pool);

 private:
  int64_t columns_;
  std::vector<float> a_, b_, c_;
};

// A TCP connection over loopback between two threads of this process. Not thread-safe. Aborts if
// there is no loopback interface.
class LoopbackTransfer {
 public:
  explicit LoopbackTransfer(size_t bytes);
  ~LoopbackTransfer();
  LoopbackTransfer(const LoopbackTransfer&) = delete;
  LoopbackTransfer& operator=(const LoopbackTransfer&) = delete;

  // Sends the bytes in one direction, in pieces of 1 MiB, and returns when the last has been read.
  void Run();

 private:
  int sender_ = -1;
  int receiver_ = -1;
  std::vector<char> source_, target_;
};

// A memcpy that moves `bytes` in total: half of them read, half written. Not thread-safe.
class MemoryTraffic {
 public:
  explicit MemoryTraffic(size_t bytes) : source_(bytes / 2), target_(bytes / 2) {}
  void Run(ThreadPool& pool);

 private:
  std::vector<char> source_, target_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_LIMITS_H_

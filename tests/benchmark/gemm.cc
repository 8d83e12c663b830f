// SPDX-License-Identifier: Apache-2.0

// Compiled for the machine that builds it, unlike everything that is shipped.

#include <Eigen/Core>

#include "tests/benchmark/limits.h"

namespace percentdelta {
namespace {

constexpr int64_t kSize = 2048;
constexpr int64_t kTileColumns = 512;

}  // namespace

Gemm::Gemm(int64_t multiply_adds)
    : columns_(multiply_adds / (kSize * kSize)),
      a_(kSize * kSize, 0.5F),
      b_(kSize * columns_, 0.25F),
      c_(kSize * columns_) {}

void Gemm::Run(ThreadPool& pool) {
  const Eigen::Map<const Eigen::MatrixXf> a(a_.data(), kSize, kSize);
  pool.ParallelFor((columns_ + kTileColumns - 1) / kTileColumns, [&](int64_t tile) {
    const int64_t begin = tile * kTileColumns;
    const int64_t count = std::min(kTileColumns, columns_ - begin);
    const Eigen::Map<const Eigen::MatrixXf> b(b_.data() + begin * kSize, kSize, count);
    Eigen::Map<Eigen::MatrixXf>(c_.data() + begin * kSize, kSize, count).noalias() = a * b;
  });
}

}  // namespace percentdelta

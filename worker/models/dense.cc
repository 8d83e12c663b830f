// SPDX-License-Identifier: Apache-2.0

#include "worker/models/dense.h"

#include <algorithm>
#include <cstdint>

#include "absl/types/span.h"
#include "common/base/thread_pool.h"
#include "worker/kernels/kernels.h"

namespace percentdelta {
namespace {

// Calls body(product of a tile, its first column) for every tile, in parallel.
template <typename Body>
void ForTiles(ThreadPool& pool, const MatMul& product, const Body& body) {
  const int64_t tile_rows = std::max<int64_t>(1, (product.rows + kMaxTileRows - 1) / kMaxTileRows);
  const int64_t rows = (product.rows + tile_rows - 1) / tile_rows;  // about equal
  const int64_t tile_columns = (product.columns + kMaxTileColumns - 1) / kMaxTileColumns;
  pool.ParallelFor(tile_rows * tile_columns, [&](int64_t tile) {
    const int64_t row = tile / tile_columns * rows;
    const int64_t column = tile % tile_columns * kMaxTileColumns;
    MatMul part = product;
    part.rows = std::min(rows, product.rows - row);
    part.columns = std::min(kMaxTileColumns, product.columns - column);
    part.a += row * product.a_row_stride;
    part.b += column * product.b_column_stride;
    part.c += row * product.c_row_stride + column;
    body(part, column);
  });
}

}  // namespace

Dense::Dense(int64_t inputs, int64_t outputs, bool relu, const Kernels& kernels, ThreadPool& pool)
    : inputs_(inputs), outputs_(outputs), relu_(relu), kernels_(kernels), pool_(pool) {}

void Dense::Forward(int64_t examples, absl::Span<const float> x, absl::Span<const float> weights,
                    absl::Span<const float> biases, absl::Span<float> y) const {
  const MatMul product = {.rows = examples,
                          .inner = inputs_,
                          .columns = outputs_,
                          .a = x.data(),
                          .a_row_stride = inputs_,
                          .a_inner_stride = 1,
                          .b = weights.data(),
                          .b_inner_stride = outputs_,
                          .b_column_stride = 1,
                          .c = y.data(),
                          .c_row_stride = outputs_};
  ForTiles(pool_, product, [&](const MatMul& tile, int64_t column) {
    kernels_.mat_mul(tile);
    const float* bias = biases.data() + column;
    for (int64_t i = 0; i < tile.rows; ++i) {
      float* row = tile.c + i * tile.c_row_stride;
      for (int64_t j = 0; j < tile.columns; ++j) row[j] += bias[j];
      if (!relu_) continue;
      for (int64_t j = 0; j < tile.columns; ++j) row[j] = row[j] <= 0 ? 0 : row[j];
    }
  });
}

void Dense::BackwardRelu(int64_t examples, absl::Span<const float> y,
                         absl::Span<float> y_gradient) const {
  if (!relu_) return;
  pool_.ParallelFor(examples, [&](int64_t example) {
    const float* output = y.data() + example * outputs_;
    float* gradient = y_gradient.data() + example * outputs_;
    for (int64_t j = 0; j < outputs_; ++j) {
      const float value = gradient[j];
      gradient[j] = output[j] > 0 ? value : 0;
    }
  });
}

void Dense::WeightsGradient(int64_t examples, absl::Span<const float> x,
                            absl::Span<const float> y_gradient, absl::Span<float> gradient) const {
  const MatMul product = {.rows = inputs_,
                          .inner = examples,
                          .columns = outputs_,
                          .a = x.data(),
                          .a_row_stride = 1,
                          .a_inner_stride = inputs_,
                          .b = y_gradient.data(),
                          .b_inner_stride = outputs_,
                          .b_column_stride = 1,
                          .c = gradient.data(),
                          .c_row_stride = outputs_};
  ForTiles(pool_, product, [&](const MatMul& tile, int64_t) { kernels_.mat_mul(tile); });
}

void Dense::BiasesGradient(int64_t examples, absl::Span<const float> y_gradient,
                           absl::Span<float> gradient) const {
  std::fill(gradient.begin(), gradient.end(), 0.0F);
  float* sums = gradient.data();
  for (int64_t example = 0; example < examples; ++example) {
    const float* row = y_gradient.data() + example * outputs_;
    for (int64_t j = 0; j < outputs_; ++j) sums[j] += row[j];
  }
}

void Dense::InputGradient(int64_t examples, absl::Span<const float> y_gradient,
                          absl::Span<const float> weights, absl::Span<float> gradient) const {
  const MatMul product = {.rows = examples,
                          .inner = outputs_,
                          .columns = inputs_,
                          .a = y_gradient.data(),
                          .a_row_stride = outputs_,
                          .a_inner_stride = 1,
                          .b = weights.data(),
                          .b_inner_stride = 1,
                          .b_column_stride = outputs_,
                          .c = gradient.data(),
                          .c_row_stride = inputs_};
  ForTiles(pool_, product, [&](const MatMul& tile, int64_t) { kernels_.mat_mul(tile); });
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// Products of matrices by every instruction set, against sums in double.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/worker/models/naive_layers.h"
#include "worker/kernels/kernels.h"
#include "worker/kernels/select.h"

namespace percentdelta {
namespace {

class MatMulTest : public testing::TestWithParam<const Kernels*> {};
INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, MatMulTest, testing::ValuesIn(SupportedKernels()),
                         KernelsName);

TEST_P(MatMulTest, OfAnyShapeAndStrides) {
  constexpr uint64_t kSeed = 11;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  for (const int64_t rows : {1, 6, 13, 510}) {
    for (const int64_t inner : {1, 5, 48, 150}) {
      for (const int64_t columns : {1, 10, 16, 65, 130, 270}) {
        const std::vector<float> a = RandomFloats(kSeed, rows * inner, 1);
        const std::vector<float> b = RandomFloats(kSeed + 1, inner * columns, 1);
        for (const bool transposed : {false, true}) {  // then a and b hold the transposes
          std::vector<float> c(rows * (columns + 3), -1);
          GetParam()->mat_mul({.rows = rows,
                               .inner = inner,
                               .columns = columns,
                               .a = a.data(),
                               .a_row_stride = transposed ? 1 : inner,
                               .a_inner_stride = transposed ? rows : 1,
                               .b = b.data(),
                               .b_inner_stride = transposed ? 1 : columns,
                               .b_column_stride = transposed ? inner : 1,
                               .c = c.data(),
                               .c_row_stride = columns + 3});
          for (int64_t i = 0; i < rows; i += 1 + rows / 20) {
            for (int64_t j = 0; j < columns; j += 1 + columns / 20) {
              double sum = 0;
              for (int64_t k = 0; k < inner; ++k) {
                sum += double{a[transposed ? k * rows + i : i * inner + k]} *
                       b[transposed ? j * inner + k : k * columns + j];
              }
              ASSERT_NEAR(c[i * (columns + 3) + j], sum, 2e-5)
                  << rows << " x " << inner << " x " << columns << ", " << i << " " << j;
            }
            ASSERT_EQ(c[i * (columns + 3) + columns], -1) << "written past the row";
          }
        }
      }
    }
  }
}

TEST_P(MatMulTest, SkipsZerosOfA) {
  constexpr uint64_t kSeed = 30;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  constexpr int64_t kRows = 37;
  constexpr int64_t kInner = 130;
  constexpr int64_t kColumns = 150;
  std::vector<float> a = RandomFloats(kSeed, kRows * kInner, 1);
  for (float& value : a) value = value < 0.5F ? 0 : value;
  std::vector<float> b = RandomFloats(kSeed + 1, kInner * kColumns, 1);
  for (int64_t i = 0; i < kRows; ++i) a[i * kInner + 64] = i % 2 == 0 ? 0.0F : -0.0F;
  for (int64_t j = 0; j < kColumns; ++j) {  // the row that these zeros multiply
    b[64 * kColumns + j] = std::numeric_limits<float>::infinity();
  }
  a[5 * kInner + 7] = std::numeric_limits<float>::quiet_NaN();  // and one row with NaN
  std::vector<float> transposed(a.size());
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t k = 0; k < kInner; ++k) transposed[k * kRows + i] = a[i * kInner + k];
  }
  for (const bool is_transposed : {false, true}) {
    std::vector<float> c(kRows * kColumns);
    GetParam()->mat_mul({.rows = kRows,
                         .inner = kInner,
                         .columns = kColumns,
                         .a = is_transposed ? transposed.data() : a.data(),
                         .a_row_stride = is_transposed ? 1 : kInner,
                         .a_inner_stride = is_transposed ? kRows : 1,
                         .b = b.data(),
                         .b_inner_stride = kColumns,
                         .b_column_stride = 1,
                         .c = c.data(),
                         .c_row_stride = kColumns});
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < kInner; ++k) {
          if (a[i * kInner + k] != 0) sum += double{a[i * kInner + k]} * b[k * kColumns + j];
        }
        const float got = c[i * kColumns + j];
        if (i == 5) {
          ASSERT_TRUE(std::isnan(got)) << j;
        } else {
          ASSERT_NEAR(got, sum, 2e-5) << i << " " << j;
        }
      }
    }
  }
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/page/min_max_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace percentdelta {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(MinMaxRowsTest, AFewStepsAreARowEach) {
  MinMaxRows rows(100, 10000);
  rows.Add(0, {1, 0.125});
  rows.Add(1, {2, kNan});
  rows.Add(2, {std::numeric_limits<double>::infinity(), 1e-9});
  EXPECT_EQ(rows.width(), 1);
  EXPECT_EQ(rows.next_step(), 3);
  EXPECT_EQ(rows.Json(0, 4), "[[0,0,1,0.125],[1,1,2,null],[2,2,null,1e-09]]");
  EXPECT_EQ(rows.Json(2, 4), "[[2,2,null,1e-09]]");
}

TEST(MinMaxRowsTest, StepsThatAreNotNewAreDropped) {
  MinMaxRows rows(100, 10000);
  rows.Add(5, {1});
  rows.Add(5, {2});
  rows.Add(4, {3});
  EXPECT_EQ(rows.Json(0, 4), "[[5,5,1]]");
}

TEST(MinMaxRowsTest, NoExtremeIsLost) {
  constexpr int64_t kSteps = 100000;
  MinMaxRows rows(200, 1 << 20);
  for (int64_t step = 0; step < kSteps; ++step) {
    double value = std::sin(static_cast<double>(step) / 1000);
    if (step == 54321) value = 17;
    if (step == 77777) value = -17;
    rows.Add(step, {value});
  }
  EXPECT_LE(rows.rows().size(), 200U);
  EXPECT_GT(rows.rows().size(), 90U);
  EXPECT_EQ(rows.rows().front().first, 0);
  EXPECT_EQ(rows.rows().back().last, kSteps - 1);
  double low = 0;
  double high = 0;
  int64_t next = 0;
  for (const MinMaxRows::Row& row : rows.rows()) {
    EXPECT_EQ(row.first, next);
    next = row.last + 1;
    low = std::min({low, row.cells[0].first, row.cells[0].second});
    high = std::max({high, row.cells[0].first, row.cells[0].second});
    const bool has_peak = row.first <= 54321 && 54321 <= row.last;
    EXPECT_EQ(has_peak, std::max(row.cells[0].first, row.cells[0].second) == 17) << row.first;
  }
  EXPECT_EQ(low, -17);
  EXPECT_EQ(high, 17);
}

TEST(MinMaxRowsTest, ExtremesStayInTheirOrder) {
  MinMaxRows rows(32, 1 << 20);
  for (int64_t step = 0; step < 64; ++step) rows.Add(step, {step % 2 == 0 ? 9.0 : 1.0});
  ASSERT_EQ(rows.width(), 2);
  EXPECT_EQ(rows.rows()[0].cells[0].first, 9);
  EXPECT_EQ(rows.rows()[0].cells[0].second, 1);
}

// The same rows, whatever the number of messages they came in.
TEST(MinMaxRowsTest, ManyColumnsMeanFewerRows) {
  MinMaxRows rows(1000, 6400);
  const std::vector<double> values(100, 1);
  for (int64_t step = 0; step < 5000; ++step) rows.Add(step, values);
  EXPECT_LE(rows.rows().size(), 64U);
  EXPECT_GE(rows.rows().size(), 32U);
}

TEST(MinMaxRowsTest, ColumnsMayBeAdded) {
  MinMaxRows rows(100, 10000);
  rows.Add(0, {1});
  rows.Add(1, {1, 2});
  EXPECT_EQ(rows.Json(0, 4), "[[0,0,1],[1,1,1,2]]");
}

TEST(MinMaxRowsTest, ChangesAreTheRowsSinceTheLastQuestion) {
  MinMaxRows rows(32, 1 << 20);
  EXPECT_EQ(rows.TakeChanged(), -1);
  rows.Add(0, {1});
  EXPECT_EQ(rows.TakeChanged(), 0);
  EXPECT_EQ(rows.TakeChanged(), -1);
  rows.Add(1, {1});
  rows.Add(2, {1});
  EXPECT_EQ(rows.TakeChanged(), 1);
  for (int64_t step = 3; step < 33; ++step) rows.Add(step, {1});
  EXPECT_EQ(rows.width(), 2);
  EXPECT_EQ(rows.TakeChanged(), 0);  // all rows are others now
}

TEST(MinMaxRowsTest, TruncationSaysWhatIsMissing) {
  MinMaxRows rows(32, 1 << 20);
  for (int64_t step = 0; step < 60; ++step) rows.Add(step, {1.0 * step});
  ASSERT_EQ(rows.width(), 2);
  rows.TakeChanged();
  EXPECT_EQ(rows.Truncate(41), 40);  // the row of steps 40 and 41 is gone
  EXPECT_EQ(rows.next_step(), 40);
  EXPECT_EQ(rows.TakeChanged(), 40);
  EXPECT_EQ(rows.Truncate(100), 100);
  EXPECT_EQ(rows.next_step(), 40);
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// A table of values over steps that never grows beyond a number of rows: when it is full,
// neighbouring rows are joined, and a row retains the minimum and the maximum of each column, so
// that no extreme is lost. What the charts of the page show.

#ifndef PERCENTDELTA_COMMON_PAGE_MIN_MAX_ROWS_H_
#define PERCENTDELTA_COMMON_PAGE_MIN_MAX_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace percentdelta {

// The extremes of a column's finite values in a row, in the order in which they occurred. NaN:
// there is no such value.
struct MinMax {
  double first = std::numeric_limits<double>::quiet_NaN();
  double second = std::numeric_limits<double>::quiet_NaN();

  // Adds values of later steps.
  void Add(const MinMax& later);
};

// Not thread-safe.
class MinMaxRows {
 public:
  // The steps [begin, begin + width()); values occurred at `first` to `last`.
  struct Row {
    int64_t first = 0;
    int64_t last = 0;
    std::vector<MinMax> cells;
  };

  // Holds at most `max_rows` rows, and at most `max_cells` cells as long as there are kMinRows.
  MinMaxRows(size_t max_rows, size_t max_cells) : max_rows_(max_rows), max_cells_(max_cells) {}

  // Adds a step's values by column, of which there may be more than before. Drops it unless the
  // step is greater than that of all rows.
  void Add(int64_t step, const std::vector<double>& values);

  // Drops the rows that contain `step` or later ones. Returns the step from which steps are missing
  // now, at most `step`.
  int64_t Truncate(int64_t step);

  // How many steps a row stands for: a power of two.
  int64_t width() const { return width_; }
  const std::vector<Row>& rows() const { return rows_; }

  // The step after the last one that was added.
  int64_t next_step() const { return rows_.empty() ? 0 : rows_.back().last + 1; }

  // Returns the step from which rows have changed since the last call; -1: none has.
  int64_t TakeChanged();

  // The rows whose `first` is at least `from`, as JSON: [[first, last, cell, ...], ...]. A cell is
  // a number with `digits` significant digits, a pair of them, or null.
  std::string Json(int64_t from, int digits) const;

  static constexpr size_t kMinRows = 32;

 private:
  size_t RowLimit() const;
  void JoinRows();
  void NoteChange(int64_t step);

  const size_t max_rows_;
  const size_t max_cells_;
  int64_t width_ = 1;
  size_t columns_ = 0;
  std::vector<Row> rows_;  // by ascending step
  int64_t changed_ = -1;
};

// Appends `value` in JSON, with `digits` significant digits; null if it is not finite.
void AppendJsonNumber(double value, int digits, std::string& out);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PAGE_MIN_MAX_ROWS_H_

// SPDX-License-Identifier: Apache-2.0

#include "common/page/min_max_rows.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace percentdelta {

void MinMax::Add(const MinMax& later) {
  if (std::isnan(later.first)) return;
  if (std::isnan(first)) {
    *this = later;
    return;
  }
  // In the order in which they occurred: the two extremes of four values.
  const double values[] = {first, second, later.first, later.second};
  const auto* const low = std::min_element(std::begin(values), std::end(values));
  const auto* const high = std::max_element(std::begin(values), std::end(values));
  first = low <= high ? *low : *high;
  second = low <= high ? *high : *low;
}

size_t MinMaxRows::RowLimit() const {
  const size_t by_cells = max_cells_ / std::max<size_t>(1, columns_);
  return std::max(kMinRows, std::min(max_rows_, by_cells));
}

void MinMaxRows::Add(int64_t step, const std::vector<double>& values) {
  if (step < next_step()) return;
  columns_ = std::max(columns_, values.size());
  if (rows_.empty() || rows_.back().first / width_ != step / width_) {
    rows_.push_back({step, step, {}});
  }
  Row& row = rows_.back();
  row.last = step;
  row.cells.resize(columns_);
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) row.cells[i].Add({values[i], values[i]});
  }
  NoteChange(row.first);
  while (rows_.size() > RowLimit()) JoinRows();
}

void MinMaxRows::JoinRows() {
  width_ *= 2;
  std::vector<Row> joined;
  joined.reserve(rows_.size() / 2 + 1);
  for (Row& row : rows_) {
    if (joined.empty() || joined.back().first / width_ != row.first / width_) {
      joined.push_back(std::move(row));
      continue;
    }
    Row& before = joined.back();
    before.last = row.last;
    before.cells.resize(std::max(before.cells.size(), row.cells.size()));
    for (size_t i = 0; i < row.cells.size(); ++i) before.cells[i].Add(row.cells[i]);
  }
  rows_ = std::move(joined);
  NoteChange(0);
}

int64_t MinMaxRows::Truncate(int64_t step) {
  while (!rows_.empty() && rows_.back().last >= step) {
    step = std::min(step, rows_.back().first);
    rows_.pop_back();
  }
  NoteChange(step);
  return step;
}

void MinMaxRows::NoteChange(int64_t step) {
  changed_ = changed_ < 0 ? step : std::min(changed_, step);
}

int64_t MinMaxRows::TakeChanged() { return std::exchange(changed_, -1); }

std::string MinMaxRows::Json(int64_t from, int digits) const {
  std::string out = "[";
  for (const Row& row : rows_) {
    if (row.first < from) continue;
    absl::StrAppend(&out, out.size() > 1 ? "," : "", "[", row.first, ",", row.last);
    for (const MinMax& cell : row.cells) {
      if (cell.first == cell.second || std::isnan(cell.first)) {
        out += ',';
        AppendJsonNumber(cell.first, digits, out);
      } else {
        out += ",[";
        AppendJsonNumber(cell.first, digits, out);
        out += ',';
        AppendJsonNumber(cell.second, digits, out);
        out += ']';
      }
    }
    out += ']';
  }
  out += ']';
  return out;
}

void AppendJsonNumber(double value, int digits, std::string& out) {
  if (std::isfinite(value)) {
    absl::StrAppendFormat(&out, "%.*g", digits, value);
  } else {
    out += "null";
  }
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/progress_format.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "client/pdctl/statistics_format.h"
#include "common/base/text.h"
#include "common/cluster/progress_json.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMinColumnWidth = 12;

// The points of a step; null: there is none.
struct Row {
  const ProgressPoint* training = nullptr;
  const ProgressPoint* evaluation = nullptr;

  double seconds() const { return training != nullptr ? training->seconds : evaluation->seconds; }
};

std::map<int64_t, Row> RowsOf(const Progress& progress) {
  std::map<int64_t, Row> rows;
  for (const ProgressPoint& point : progress.training) rows[point.step].training = &point;
  for (const ProgressPoint& point : progress.evaluations) rows[point.step].evaluation = &point;
  return rows;
}

const Metric* FindMetric(const ProgressPoint* point, const std::string& name) {
  if (point == nullptr) return nullptr;
  const auto found = std::find_if(point->metrics.begin(), point->metrics.end(),
                                  [&](const Metric& metric) { return metric.name == name; });
  return found == point->metrics.end() ? nullptr : &*found;
}

Json PointsJson(const std::vector<ProgressPoint>& points) {
  Json array = Json::array();
  for (const ProgressPoint& point : points) array.push_back(PointJson(point));
  return array;
}

// Right-aligned columns, as wide as their headings.
class Table {
 public:
  void AddHeading(const std::string& heading) {
    widths_.push_back(std::max(kMinColumnWidth, static_cast<int>(heading.size()) + 1));
    absl::StrAppendFormat(&text_, "%*s", widths_.back(), heading);
  }
  void StartRow() {
    text_ += '\n';
    column_ = 0;
  }
  void Add(absl::string_view cell) {
    absl::StrAppendFormat(&text_, "%*s", widths_[column_++], cell);
  }
  void Add(const double* value) { Add(value == nullptr ? "" : absl::StrFormat("%.4g", *value)); }

  std::string text() const { return text_ + "\n"; }

 private:
  std::vector<int> widths_;
  size_t column_ = 0;
  std::string text_;
};

const double* Value(const Metric* metric) { return metric == nullptr ? nullptr : &metric->value; }

}  // namespace

void KeepLastSteps(int64_t steps, Progress& progress) {
  int64_t newest = -1;
  for (const auto* points : {&progress.training, &progress.evaluations}) {
    if (!points->empty()) newest = std::max(newest, points->back().step);
  }
  for (auto* points : {&progress.training, &progress.evaluations}) {
    std::erase_if(*points,
                  [&](const ProgressPoint& point) { return point.step <= newest - steps; });
  }
}

std::vector<std::string> MetricNames(const std::vector<ProgressPoint>& points) {
  std::vector<std::string> names;
  std::set<absl::string_view> known;
  for (const ProgressPoint& point : points) {
    for (const Metric& metric : point.metrics) {
      if (known.insert(metric.name).second) names.push_back(metric.name);
    }
  }
  return names;
}

std::string ProgressTable(const Progress& progress) {
  const std::vector<std::string> training = MetricNames(progress.training);
  const std::vector<std::string> evaluation = MetricNames(progress.evaluations);
  Table table;
  for (const char* heading :
       {"step", "loss", "accuracy", "test loss", "test accuracy", "seconds"}) {
    table.AddHeading(heading);
  }
  for (const std::string& name : training) table.AddHeading(EscapeForLog(name, kMaxNameBytes));
  for (const std::string& name : evaluation) {
    table.AddHeading(absl::StrCat("test ", EscapeForLog(name, kMaxNameBytes)));
  }
  for (const auto& [step, row] : RowsOf(progress)) {
    table.StartRow();
    table.Add(absl::StrCat(step));
    for (const ProgressPoint* point : {row.training, row.evaluation}) {
      table.Add(point == nullptr ? nullptr : &point->loss);
      table.Add(point == nullptr ? nullptr : &point->accuracy);
    }
    table.Add(absl::StrFormat("%.1f", row.seconds()));
    for (const std::string& name : training) table.Add(Value(FindMetric(row.training, name)));
    for (const std::string& name : evaluation) table.Add(Value(FindMetric(row.evaluation, name)));
  }
  return table.text();
}

std::string ProgressJson(const Progress& progress) {
  const Json json = {{"training", PointsJson(progress.training)},
                     {"evaluations", PointsJson(progress.evaluations)}};
  return json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

std::string ProgressCsv(const Progress& progress) {
  const std::vector<std::string> training = MetricNames(progress.training);
  const std::vector<std::string> evaluation = MetricNames(progress.evaluations);
  std::string text = "step,loss,accuracy,test_loss,test_accuracy,seconds";
  for (const std::string& name : training) {
    absl::StrAppend(&text, ",", CsvField("metrics." + name));
  }
  for (const std::string& name : evaluation) {
    absl::StrAppend(&text, ",", CsvField("test_metrics." + name));
  }
  text += '\n';
  const auto add = [&text](const double* value) {
    absl::StrAppend(&text, ",", value == nullptr ? "" : ShortestDecimal(*value));
  };
  for (const auto& [step, row] : RowsOf(progress)) {
    absl::StrAppend(&text, step);
    for (const ProgressPoint* point : {row.training, row.evaluation}) {
      add(point == nullptr ? nullptr : &point->loss);
      add(point == nullptr ? nullptr : &point->accuracy);
    }
    absl::StrAppend(&text, ",", ShortestDecimal(row.seconds()));
    for (const std::string& name : training) add(Value(FindMetric(row.training, name)));
    for (const std::string& name : evaluation) add(Value(FindMetric(row.evaluation, name)));
    text += '\n';
  }
  return text;
}

}  // namespace percentdelta

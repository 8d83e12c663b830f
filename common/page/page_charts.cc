// SPDX-License-Identifier: Apache-2.0

#include "common/page/page_charts.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/page/page_json.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxTensors = 200;
constexpr size_t kMaxMetricColumns = 40;

// A cell takes at most about 18 bytes: all curves together stay below 0.8 MB.
constexpr size_t kMaxRows = 800;
constexpr size_t kMaxCurveCells = 4000;
constexpr size_t kMaxUpdateCells = 36000;
constexpr int kCurveDigits = 6;
constexpr int kUpdateDigits = 4;

std::string TableJson(const std::string& names, const MinMaxRows& rows, int64_t from, int digits) {
  return absl::StrCat("{\"names\":", names, ",\"width\":", rows.width(), ",\"after\":", from,
                      ",\"rows\":", rows.Json(from, digits), "}");
}

}  // namespace

std::vector<int> ChartedTensors(const ModelSpec& model) {
  std::vector<int> charted;
  for (const bool matrices : {true, false}) {
    for (size_t i = 0; i < model.tensors.size() && charted.size() < kMaxTensors; ++i) {
      const TensorSpec& tensor = model.tensors[i];
      if (!tensor.buffer && (tensor.shape.size() > 1) == matrices) {
        charted.push_back(static_cast<int>(i));
      }
    }
  }
  std::sort(charted.begin(), charted.end());
  return charted;
}

PageCharts::PageCharts(const Job& job)
    : tensors_(ChartedTensors(job.model)),
      training_{{}, MinMaxRows(kMaxRows, kMaxCurveCells)},
      evaluations_{{}, MinMaxRows(kMaxRows, kMaxCurveCells)},
      updates_(kMaxRows, kMaxUpdateCells) {
  places_.reserve(job.model.tensors.size());
  for (size_t i = 0; i < job.model.tensors.size(); ++i) {
    if (job.model.tensors[i].buffer) continue;
    const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), static_cast<int>(i));
    const bool found = at != tensors_.end() && *at == static_cast<int>(i);
    places_.push_back(found ? static_cast<int>(at - tensors_.begin()) : -1);
  }
}

void PageCharts::Curve::Add(const ProgressPoint& point) {
  std::vector<double> values = {point.loss, point.accuracy, point.seconds};
  values.resize(3 + metrics.size(), std::numeric_limits<double>::quiet_NaN());
  for (const Metric& metric : point.metrics) {
    const size_t index = std::find(metrics.begin(), metrics.end(), metric.name) - metrics.begin();
    if (index == metrics.size()) {
      if (index >= kMaxMetricColumns) continue;
      metrics.push_back(metric.name);
      values.push_back(metric.value);
    } else {
      values[3 + index] = metric.value;
    }
  }
  rows.Add(point.step, values);
}

std::string PageCharts::Curve::Json(int64_t from) const {
  std::vector<std::string> names = {"\"loss\"", "\"accuracy\"", "\"seconds\""};
  for (const std::string& name : metrics) names.push_back(QuoteJson(name));
  return TableJson(absl::StrCat("[", absl::StrJoin(names, ","), "]"), rows, from, kCurveDigits);
}

void PageCharts::AddUpdates(const StepStatistics& step) {
  std::vector<double> values(3 * tensors_.size(), std::numeric_limits<double>::quiet_NaN());
  for (size_t i = 0; i < step.updates.size() && i < places_.size(); ++i) {
    if (places_[i] < 0) continue;
    double* const cells = &values[3 * static_cast<size_t>(places_[i])];
    cells[0] = step.updates[i].relative_delta;
    cells[1] = step.updates[i].sgd_relative_delta;
    cells[2] = step.updates[i].multiplier;
  }
  updates_.Add(step.step, values);
}

void PageCharts::Truncate(int64_t step) {
  training_.rows.Truncate(step);
  // The evaluation at `step` is of the weights before it.
  evaluations_.rows.Truncate(step);
  updates_.Truncate(step);
}

std::string PageCharts::UpdatesJson(int64_t from) const {
  return TableJson("[]", updates_, from, kUpdateDigits);
}

std::string PageCharts::Json() const {
  return absl::StrCat("{\"training\":", training_.Json(0),
                      ",\"evaluations\":", evaluations_.Json(0), ",\"updates\":", UpdatesJson(0),
                      "}");
}

std::string PageCharts::TakeChanges() {
  std::vector<std::string> parts;
  if (const int64_t from = training_.rows.TakeChanged(); from >= 0) {
    parts.push_back(absl::StrCat("\"training\":", training_.Json(from)));
  }
  if (const int64_t from = evaluations_.rows.TakeChanged(); from >= 0) {
    parts.push_back(absl::StrCat("\"evaluations\":", evaluations_.Json(from)));
  }
  if (const int64_t from = updates_.TakeChanged(); from >= 0) {
    parts.push_back(absl::StrCat("\"updates\":", UpdatesJson(from)));
  }
  return parts.empty() ? "" : absl::StrCat("{", absl::StrJoin(parts, ","), "}");
}

}  // namespace percentdelta

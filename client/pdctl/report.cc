// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/report.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <system_error>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "client/pdctl/progress_format.h"
#include "client/pdctl/report_template.h"
#include "client/pdctl/statistics_format.h"
#include "common/base/errno_status.h"
#include "common/base/output_path.h"
#include "common/base/status_macros.h"
#include "common/job/job_codec.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using Json = nlohmann::ordered_json;

// The maximum number of points of a line: more are not visible, and make the page large.
constexpr size_t kMaxPoints = 600;

// The steps that the paper's Figure 1 shows.
constexpr int64_t kFigureSteps[] = {0, 15, 30, 45};

// Returns evenly spaced indices below `count`, including the first and the last.
std::vector<size_t> Sample(size_t count) {
  std::vector<size_t> indices;
  const size_t points = std::min(count, kMaxPoints);
  for (size_t i = 0; i < points; ++i) {
    indices.push_back(points < 2 ? 0 : i * (count - 1) / (points - 1));
  }
  return indices;
}

Json Curve(const std::vector<ProgressPoint>& points) {
  Json curve = Json::array();
  for (const size_t i : Sample(points.size())) {
    curve.push_back({points[i].step, points[i].loss, points[i].accuracy});
  }
  return curve;
}

// The points of a metric in a curve.
Json MetricCurve(const std::vector<ProgressPoint>& points, const std::string& name) {
  std::vector<std::pair<int64_t, double>> values;
  for (const ProgressPoint& point : points) {
    for (const Metric& metric : point.metrics) {
      if (metric.name == name) values.emplace_back(point.step, metric.value);
    }
  }
  Json curve = Json::array();
  for (const size_t i : Sample(values.size())) {
    curve.push_back({values[i].first, values[i].second});
  }
  return curve;
}

// Returns each metric's curves, those of the training first.
Json Metrics(const Progress& progress) {
  std::vector<std::string> names = MetricNames(progress.training);
  for (const std::string& name : MetricNames(progress.evaluations)) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  Json metrics = Json::array();
  for (const std::string& name : names) {
    metrics.push_back({{"name", name},
                       {"training", MetricCurve(progress.training, name)},
                       {"evaluations", MetricCurve(progress.evaluations, name)}});
  }
  return metrics;
}

Json UpdateJson(const TensorStatistics& update) {
  return {{"tensor", update.tensor},          {"layer", update.layer},
          {"entries", update.entries},        {"relative", update.relative_delta},
          {"sgd", update.sgd_relative_delta}, {"multiplier", update.multiplier},
          {"gradient", update.gradient_l1},   {"weight", update.weight_l1}};
}

bool IsMatrix(const Job& job, const std::string& tensor) {
  const int index = job.model.Find(tensor);
  return index >= 0 && job.model.tensors[index].shape.size() > 1;
}

// Returns a line over the steps for each weight tensor; biases would only crowd the chart.
Json Lines(const ReportData& data) {
  std::map<std::string, Json> lines;
  for (const size_t i : Sample(data.statistics.size())) {
    for (const TensorStatistics& update : data.statistics[i].updates) {
      if (!IsMatrix(data.job, update.tensor)) continue;
      lines[update.tensor].push_back(
          {update.step, update.relative_delta, update.sgd_relative_delta});
    }
  }
  Json array = Json::array();
  for (const TensorSpec& tensor : data.job.model.tensors) {
    const auto line = lines.find(tensor.name);
    if (line == lines.end()) continue;
    array.push_back({{"name", std::string(tensor.layer())}, {"points", line->second}});
  }
  return array;
}

Json Figure(const ReportData& data) {
  Json figure = Json::array();
  for (const StepStatistics& step : data.statistics) {
    const auto* wanted = std::find(std::begin(kFigureSteps), std::end(kFigureSteps), step.step);
    if (wanted == std::end(kFigureSteps)) continue;
    Json bars = Json::array();
    for (const TensorStatistics& update : step.updates) {
      if (IsMatrix(data.job, update.tensor)) bars.push_back(UpdateJson(update));
    }
    figure.push_back({{"step", step.step}, {"bars", std::move(bars)}});
  }
  return figure;
}

Json PageData(const ReportData& data) {
  Json last = Json::array();
  if (!data.statistics.empty()) {
    for (const TensorStatistics& update : data.statistics.back().updates) {
      last.push_back(UpdateJson(update));
    }
  }
  const Progress& progress = data.progress;
  return {{"name", data.job.name},
          {"rule", RuleTitle(data.job.optimizer.rule)},
          {"state", std::string(ToString(progress.state))},
          {"message", progress.message},
          {"step", progress.step},
          {"seconds", progress.training.empty() ? 0 : progress.training.back().seconds},
          {"rate", progress.examples_per_second},
          {"batch", data.job.batch_size},
          {"slots", data.job.gradients_per_step},
          {"shards", progress.shard_count},
          {"sha256", data.weights_sha256},
          {"any_arithmetic", data.job.any_arithmetic ? kAnyArithmeticNote : ""},
          {"command", data.command},
          {"job", JobToText(data.job)},
          {"training", Curve(progress.training)},
          {"evaluations", Curve(progress.evaluations)},
          {"metrics", Metrics(progress)},
          {"lines", Lines(data)},
          {"figure", Figure(data)},
          {"last_step", data.statistics.empty() ? -1 : data.statistics.back().step},
          {"last", std::move(last)}};
}

// Writes the file atomically.
absl::Status WriteAtomically(const std::filesystem::path& output, const std::string& text) {
  ASSIGN_OR_RETURN(const std::filesystem::path path, ResolveOutputPath(output.string()));
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  errno = 0;
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file) {
      const std::string reason = ErrnoMessage(errno);
      std::error_code ignored;
      std::filesystem::remove(temporary, ignored);
      return absl::UnavailableError(absl::StrCat("cannot write ", path.string(), ": ", reason));
    }
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot write ", path.string(), ": ", error.message()));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ReportHtml(const ReportData& data) {
  // The data of a script element must not contain its end tag.
  const std::string json = absl::StrReplaceAll(
      PageData(data).dump(-1, ' ', false, Json::error_handler_t::replace), {{"<", "\\u003c"}});
  return absl::StrReplaceAll(ReportTemplate(), {{"/*DATA*/null", json}});
}

absl::Status PrepareReport(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!error && !std::filesystem::is_directory(directory)) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot create the directory ", directory, ": ", error.message()));
  }
  if (access(directory.c_str(), W_OK | X_OK) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot write to the directory ", directory, ": ", ErrnoMessage(errno)));
  }
  return absl::OkStatus();
}

absl::Status WriteReport(const std::string& directory, const ReportData& data) {
  RETURN_IF_ERROR(PrepareReport(directory));
  const std::filesystem::path path(directory);
  absl::Status status = WriteAtomically(path / "progress.csv", ProgressCsv(data.progress));
  if (status.ok()) status = WriteAtomically(path / "statistics.csv", FormatCsv(data.statistics));
  if (status.ok()) status = WriteAtomically(path / "report.html", ReportHtml(data));
  return status;
}

}  // namespace percentdelta

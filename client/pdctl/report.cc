// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/report.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/pdctl/progress_format.h"
#include "client/pdctl/statistics_format.h"
#include "common/base/errno_status.h"
#include "common/base/output_path.h"
#include "common/base/status_macros.h"
#include "common/page/page_charts.h"
#include "common/page/page_json.h"
#include "common/page/page_template.h"

namespace percentdelta {
namespace {

// The steps that the paper's Figure 1 shows, of which the page has all numbers, as of the last one.
constexpr int64_t kFigureSteps[] = {0, 15, 30, 45};

// The point of `step`; null if there is none.
const ProgressPoint* PointAt(const std::vector<ProgressPoint>& points, int64_t step) {
  const auto found = std::find_if(points.begin(), points.end(),
                                  [&](const ProgressPoint& point) { return point.step == step; });
  return found == points.end() ? nullptr : &*found;
}

std::string StepsJson(const ReportData& data) {
  std::vector<std::string> steps;
  for (const StepStatistics& step : data.statistics) {
    const bool is_last = &step == &data.statistics.back();
    if (!is_last && !absl::c_linear_search(kFigureSteps, step.step)) continue;
    steps.push_back(StepJson(step.step, &step, PointAt(data.progress.training, step.step),
                             PointAt(data.progress.evaluations, step.step)));
  }
  return absl::StrJoin(steps, ",");
}

std::string PageData(const ReportData& data) {
  PageCharts charts(data.job);
  for (const ProgressPoint& point : data.progress.training) charts.AddTraining(point);
  for (const ProgressPoint& point : data.progress.evaluations) charts.AddEvaluation(point);
  for (const StepStatistics& step : data.statistics) charts.AddUpdates(step);
  return absl::StrCat(
      "{\"job\":", JobJson(data.job), ",\"status\":", TrainingStatusJson(data.progress),
      ",\"activity\":null,\"events\":[],\"steps\":[", StepsJson(data),
      "],\"report\":{\"sha256\":", QuoteJson(data.weights_sha256),
      ",\"command\":", QuoteJson(data.command), "},\"charts\":", charts.Json(), "}");
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

std::string ReportHtml(const ReportData& data) { return PageWithData(PageData(data)); }

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

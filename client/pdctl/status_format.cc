// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/status_format.h"

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/text.h"
#include "common/cluster/progress_json.h"
#include "common/job/job.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxRowBytes = 4000;

Json LastPointJson(const std::vector<ProgressPoint>& points) {
  return points.empty() ? Json(nullptr) : PointJson(points.back());
}

std::string CheckpointText(const CheckpointProgress& checkpoint) {
  std::string text = checkpoint.step < 0 ? "none yet" : absl::StrCat("step ", checkpoint.step);
  if (checkpoint.under_way) absl::StrAppend(&text, ", the next one is being written");
  if (!checkpoint.error.empty()) {
    absl::StrAppend(&text, "; the last one FAILED: ", checkpoint.error);
  } else if (checkpoint.failures > 0) {
    absl::StrAppend(&text, "; failed before: ", checkpoint.failures);
  }
  if (checkpoint.skipped > 0) {
    absl::StrAppend(&text, "; skipped, as the disk is slow: ", checkpoint.skipped);
  }
  return text;
}

Json TimesJson(const std::optional<LeaseTimes>& times) {
  if (!times) return nullptr;
  return {{"pull", absl::ToDoubleSeconds(times->pull)},
          {"compute", absl::ToDoubleSeconds(times->compute)},
          {"push", absl::ToDoubleSeconds(times->push)}};
}

std::string TimesText(const LeaseTimes& times) {
  const auto ms = [](absl::Duration time) { return absl::ToDoubleMilliseconds(time); };
  return absl::StrFormat("pull %.1f ms, compute %.1f ms, push %.1f ms (means of the last minute)",
                         ms(times.pull), ms(times.compute), ms(times.push));
}

// Escapes `value`, which may come from an untrusted peer, so that a row stays one line.
void AppendRow(std::string& text, absl::string_view name, absl::string_view value) {
  absl::StrAppendFormat(&text, "%-14s %s\n", name, EscapeForLog(value, kMaxRowBytes));
}

std::string NotReproducible() { return absl::StrCat("no, ", kAnyArithmeticNote); }

// Adds a row about the last point's metrics, if it has any.
void AppendMetrics(std::string& text, absl::string_view name,
                   const std::vector<ProgressPoint>& points) {
  if (points.empty() || points.back().metrics.empty()) return;
  const auto add = [](std::string* row, const Metric& metric) {
    absl::StrAppendFormat(row, "%s %.4g", metric.name, metric.value);
  };
  AppendRow(text, name,
            absl::StrCat(absl::StrJoin(points.back().metrics, ", ", add), " at step ",
                         points.back().step));
}

std::string ArithmeticText(const Progress& progress) {
  if (progress.arithmetic.empty()) return "";
  std::string text = absl::StrCat(", arithmetic ", progress.arithmetic);
  for (const std::string& other : progress.other_arithmetic) {
    absl::StrAppend(&text, " and ", other);
  }
  return text;
}

}  // namespace

std::string StatusJson(const Progress& progress) {
  const Json json = {{"state", std::string(ToString(progress.state))},
                     {"message", progress.message},
                     {"job_name", progress.job_name},
                     {"job_hash", progress.job_hash},
                     {"generation", progress.generation},
                     {"shards", progress.shard_count},
                     {"step", progress.step},
                     {"max_steps", progress.max_steps},
                     {"workers", progress.workers},
                     {"arithmetic", progress.arithmetic},
                     {"any_arithmetic", progress.any_arithmetic},
                     {"other_arithmetic", progress.other_arithmetic},
                     {"data", progress.data},
                     {"lease_seconds", TimesJson(progress.mean_times)},
                     {"examples_per_second", progress.examples_per_second},
                     {"seconds_left", absl::ToDoubleSeconds(TimeLeft(progress))},
                     {"last_training", LastPointJson(progress.training)},
                     {"last_evaluation", LastPointJson(progress.evaluations)},
                     {"expired_leases", progress.expired_leases},
                     {"failed_leases", progress.failed_leases},
                     {"duplicate_results", progress.duplicate_results},
                     {"speculative_leases", progress.speculative_leases},
                     {"checkpoint", CheckpointJson(progress.checkpoint)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string StatusTable(const Progress& progress) {
  std::string text;
  AppendRow(text, "state",
            absl::StrCat(ToString(progress.state), progress.message.empty() ? "" : ": ",
                         progress.message));
  AppendRow(text, "job", absl::StrCat(progress.job_name, ", sha256 ", progress.job_hash));
  AppendRow(text, "step", absl::StrCat(progress.step, " of ", progress.max_steps));
  if (!progress.training.empty()) {
    const ProgressPoint& last = progress.training.back();
    AppendRow(text, "loss", absl::StrFormat("%.4f at step %d", last.loss, last.step));
  }
  AppendMetrics(text, "metrics", progress.training);
  if (!progress.evaluations.empty()) {
    const ProgressPoint& last = progress.evaluations.back();
    AppendRow(text, "test accuracy",
              absl::StrFormat("%.2f %% at step %d", 100 * last.accuracy, last.step));
  }
  AppendMetrics(text, "test metrics", progress.evaluations);
  if (progress.examples_per_second > 0) {
    AppendRow(text, "speed", absl::StrFormat("%.0f examples/s", progress.examples_per_second));
  }
  const absl::Duration left = absl::Ceil(TimeLeft(progress), absl::Seconds(1));
  if (left > absl::ZeroDuration()) AppendRow(text, "time left", absl::FormatDuration(left));
  AppendRow(text, "workers", absl::StrCat(progress.workers, ArithmeticText(progress)));
  if (progress.any_arithmetic) AppendRow(text, "reproducible", NotReproducible());
  if (progress.mean_times) AppendRow(text, "a lease takes", TimesText(*progress.mean_times));
  AppendRow(text, "shards",
            absl::StrCat(progress.shard_count, ", generation ", progress.generation));
  AppendRow(text, "leases",
            absl::StrCat(progress.expired_leases, " expired, ", progress.failed_leases, " failed, ",
                         progress.duplicate_results, " done twice, ", progress.speculative_leases,
                         " given to a second worker"));
  if (progress.checkpoint) AppendRow(text, "checkpoint", CheckpointText(*progress.checkpoint));
  return text;
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/table.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace percentdelta {
namespace {

// The counters that have their own line, and its text.
constexpr std::pair<const char*, const char*> kMore[] = {
    {"worst", "the step held up most"},
    {"processor", "processor time of both processes"},
    {"peak", "the worker's peak resident set, MB"}};

constexpr char kNoFigure[] = "–";

}  // namespace

bool Table::ReportContext(const Context& /*context*/) {
  std::puts(
      "| benchmark | best ms | median ms | limit's best | limit's median | ratio of medians |"
      " ratio of bests | rounds |");
  std::puts("|---|---|---|---|---|---|---|---|");
  return true;
}

std::string Table::Format(const Run& run) {
  std::string name = run.run_name.function_name;
  if (!run.run_name.args.empty()) name += ", " + run.run_name.args;
  if (name.rfind("BM_", 0) == 0) name.erase(0, 3);
  if (run.error_occurred) return absl::StrCat("| ", name, " | ", run.error_message, " |||||||\n");
  const auto figure = [&run](const char* format, const std::string& counter) -> std::string {
    const auto found = run.counters.find(counter);
    if (found == run.counters.end()) return kNoFigure;
    const double value = found->second.value;
    if (!std::isfinite(value) || value < 0) return kNoFigure;
    char text[32];
    std::snprintf(text, sizeof(text), format, value);
    return text;
  };
  const auto number = [&](const std::string& counter) { return figure("%.3g", counter); };
  const auto ratio = [&](const std::string& counter) { return figure("%.2f", counter); };
  const auto rounds = static_cast<int64_t>(run.iterations);
  std::string lines =
      absl::StrCat("| ",
                   absl::StrJoin({name, number("best"), number("median"), number("limit_best"),
                                  number("limit_median"), ratio("ratio"), ratio("ratio_best")},
                                 " | "),
                   " | ", rounds, " |\n");
  for (const auto& [counter, what] : kMore) {
    if (run.counters.count(counter) == 0) continue;
    absl::StrAppend(&lines, "| ", name, ": ", what, " | | ", number(counter), " | | ",
                    number(absl::StrCat(counter, "_limit")), " | ",
                    ratio(absl::StrCat(counter, "_ratio")), " | | ", rounds, " |\n");
  }
  return lines;
}

void Table::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) std::fputs(Format(run).c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace percentdelta

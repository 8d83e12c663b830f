#include "tests/benchmark/table.h"

#include <cstdio>
#include <string>
#include <utility>

namespace percentdelta {
namespace {

// What has a line of its own, and what stands there.
constexpr std::pair<const char*, const char*> kMore[] = {
    {"worst", "the step held up most"},
    {"processor", "processor time of both processes"},
    {"peak", "the worker's peak resident set, MB"}};

}  // namespace

bool Table::ReportContext(const Context& /*context*/) {
  std::puts(
      "| benchmark | best ms | median ms | limit's best | limit's median | ratio of medians |"
      " ratio of bests | rounds |");
  std::puts("|---|---|---|---|---|---|---|---|");
  return true;
}

void Table::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    std::string name = run.run_name.function_name;
    if (!run.run_name.args.empty()) name += ", " + run.run_name.args;
    if (name.rfind("BM_", 0) == 0) name.erase(0, 3);
    if (run.error_occurred) {
      std::printf("| %s | %s |||||||\n", name.c_str(), run.error_message.c_str());
      continue;
    }
    const auto value = [&run](const std::string& counter) {
      const auto found = run.counters.find(counter);
      return found == run.counters.end() ? 0 : found->second.value;
    };
    std::printf("| %s | %.3g | %.3g | %.3g | %.3g | %.2f | %.2f | %lld |\n", name.c_str(),
                value("best"), value("median"), value("limit_best"), value("limit_median"),
                value("ratio"), value("ratio_best"), static_cast<long long>(run.iterations));
    for (const auto& [counter, what] : kMore) {
      if (run.counters.count(counter) == 0) continue;
      std::printf("| %s: %s | | %.3g | | %.3g | %.2f | | %lld |\n", name.c_str(), what,
                  value(counter), value(std::string(counter) + "_limit"),
                  value(std::string(counter) + "_ratio"), static_cast<long long>(run.iterations));
    }
  }
  std::fflush(stdout);
}

}  // namespace percentdelta

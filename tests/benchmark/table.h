// The benchmarks' results as a Markdown table.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_TABLE_H_
#define PERCENTDELTA_TESTS_BENCHMARK_TABLE_H_

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace percentdelta {

// One line for each of MeasureAgainst's results, as it comes: milliseconds and ratios. Another one
// for each of worst, processor and peak that there is a counter of, with worst_limit and
// worst_ratio and so on.
class Table : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;

  // The lines of one result. A figure that is absent, not finite or below zero is a dash: it was
  // not measured.
  static std::string Format(const Run& run);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_TABLE_H_

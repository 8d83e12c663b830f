// SPDX-License-Identifier: Apache-2.0

// Prints the benchmarks' results as a Markdown table.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_TABLE_H_
#define PERCENTDELTA_TESTS_BENCHMARK_TABLE_H_

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace percentdelta {

// Prints a line for each result of MeasureAgainst as it arrives: milliseconds and ratios. Adds a
// line for each of the counters worst, processor and peak that is present, with worst_limit,
// worst_ratio and so on.
class Table : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;

  // Returns the lines of one result. A figure that is absent, not finite or negative was not
  // measured, and becomes a dash.
  static std::string Format(const Run& run);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_TABLE_H_

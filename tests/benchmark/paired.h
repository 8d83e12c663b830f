// SPDX-License-Identifier: Apache-2.0

// Benchmarks some work against a limit: the best that the machine, or another program, achieves.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_PAIRED_H_
#define PERCENTDELTA_TESTS_BENCHMARK_PAIRED_H_

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <type_traits>
#include <vector>

namespace percentdelta {

// Runs `work` and `limit` in turn, so that a disturbance of the machine affects both. `settle` runs
// after the work, untimed. Sets the counters:
//   best, median             of the work, in milliseconds
//   limit_best, limit_median of the limit, in milliseconds
//   ratio, ratio_best        median / median, best / best
//
// A `work` or `limit` that returns a number measures its own time: the number is in milliseconds,
// or negative if it could not run. A round in which one of the two did not run does not count; if
// no round counts, the benchmark ends with an error instead of counters.
template <typename Work, typename Settle, typename Limit>
void MeasureAgainst(benchmark::State& state, Work work, Settle settle, Limit limit) {
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [](auto& run) -> double {
    if constexpr (std::is_same_v<decltype(run()), double>) {
      return run();
    } else {
      const Clock::time_point start = Clock::now();
      run();
      return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    }
  };
  std::vector<double> works;
  std::vector<double> limits;
  work();  // touches its memory for the first time
  settle();
  if (milliseconds(limit) < 0) return state.SkipWithError("the other program does not run");
  for (auto _ : state) {
    const double of_work = milliseconds(work);
    settle();
    const double of_limit = milliseconds(limit);
    state.SetIterationTime(std::max(0.0, of_work) / 1e3);
    if (of_work < 0 || of_limit < 0) continue;
    works.push_back(of_work);
    limits.push_back(of_limit);
  }
  if (state.error_occurred()) return;
  if (works.empty()) return state.SkipWithError("no round was run within its time");
  std::sort(works.begin(), works.end());
  std::sort(limits.begin(), limits.end());
  const double median = works[works.size() / 2];
  state.counters["best"] = works.front();
  state.counters["median"] = median;
  state.counters["limit_best"] = limits.front();
  state.counters["limit_median"] = limits[limits.size() / 2];
  state.counters["ratio"] = median / limits[limits.size() / 2];
  state.counters["ratio_best"] = works.front() / limits.front();
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_PAIRED_H_

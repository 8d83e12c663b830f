// A benchmark of one thing against the limit that the machine sets to it.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_PAIRED_H_
#define PERCENTDELTA_TESTS_BENCHMARK_PAIRED_H_

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <type_traits>
#include <vector>

namespace percentdelta {

// Runs `work` and `limit` in turn, so that what disturbs the machine disturbs both. `settle` runs
// after the work, untimed. The counters:
//   best, median             of the work, in milliseconds
//   limit_best, limit_median of the limit, in milliseconds
//   ratio, ratio_best        median / median, best / best
//
// A limit that returns a number has timed itself: the number is its milliseconds, or negative if it
// could not be run.
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
  work();  // memory is touched for the first time
  settle();
  if (milliseconds(limit) < 0) return state.SkipWithError("the other program does not run");
  for (auto _ : state) {
    works.push_back(milliseconds(work));
    settle();
    limits.push_back(milliseconds(limit));
    state.SetIterationTime(works.back() / 1e3);
  }
  if (works.empty()) return;  // skipped with an error
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

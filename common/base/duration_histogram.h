// SPDX-License-Identifier: Apache-2.0

// Counts durations by size, for the hot path: adding one costs two atomic additions.

#ifndef PERCENTDELTA_COMMON_BASE_DURATION_HISTOGRAM_H_
#define PERCENTDELTA_COMMON_BASE_DURATION_HISTOGRAM_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace percentdelta {

// Thread-safe.
class DurationHistogram {
 public:
  // Upper bounds of the buckets but the last, in seconds: from a small tensor's update to a
  // checkpoint on a slow disk.
  static constexpr std::array<double, 17> kBounds = {
      .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60};

  struct Counts {
    std::array<uint64_t, kBounds.size() + 1> buckets = {};  // not cumulative
    double sum_seconds = 0;
  };

  void Add(absl::Duration duration);

  // Not a snapshot of one moment: additions that run meanwhile may be in one part of it only.
  Counts counts() const;

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> buckets_ = {};
  std::atomic<int64_t> sum_ns_{0};
};

// Adds the time from its construction to its end.
class ScopedDuration {
 public:
  explicit ScopedDuration(DurationHistogram& histogram) : histogram_(histogram) {}
  ~ScopedDuration() { histogram_.Add(absl::FromChrono(std::chrono::steady_clock::now() - begin_)); }

  ScopedDuration(const ScopedDuration&) = delete;
  ScopedDuration& operator=(const ScopedDuration&) = delete;

 private:
  DurationHistogram& histogram_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_DURATION_HISTOGRAM_H_

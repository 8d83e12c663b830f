// SPDX-License-Identifier: Apache-2.0

#include "common/base/duration_histogram.h"

#include <algorithm>

namespace percentdelta {

void DurationHistogram::Add(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(absl::ToInt64Nanoseconds(duration), std::memory_order_relaxed);
}

DurationHistogram::Counts DurationHistogram::counts() const {
  constexpr double kNanoseconds = 1e9;  // of a second
  Counts counts;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    counts.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  }
  counts.sum_seconds = static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) / kNanoseconds;
  return counts;
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

// How the entries of a tensor are distributed: exact counts in buckets of relative width 1/16 to
// 1/8, so that histograms of slices add up to the tensor's to the last count, in any order.

#ifndef PERCENTDELTA_COMMON_CLUSTER_HISTOGRAM_H_
#define PERCENTDELTA_COMMON_CLUSTER_HISTOGRAM_H_

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace percentdelta {

// A bucket is a sign, a binary exponent and the three bits that follow it: bucket k > 0 has the
// values from LowerLimit(k) to below LowerLimit(k + 1), bucket -k the same with the other sign, and
// bucket 0 all that are smaller than 2^-40 (about 1e-12).
inline constexpr int kMaxBucket = 1344;

// Of a value that is finite. Infinity and NaN count as the largest.
int BucketOf(float value);

// 1 <= bucket <= kMaxBucket + 1; the last one's is 2^128.
double LowerLimit(int bucket);

struct Histogram {
  std::map<int, int64_t> counts;  // by bucket; none is 0
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();

  int64_t entries() const;

  // Takes the entries of another one.
  void Merge(const Histogram& other);
};

// Counts values fast. Not thread-safe.
class HistogramCounter {
 public:
  void Add(absl::Span<const float> values);

  // Adds what was counted to `histogram`.
  void AddTo(Histogram& histogram) const;

 private:
  std::vector<int64_t> counts_ = std::vector<int64_t>(2 * kMaxBucket + 1);
  float min_ = std::numeric_limits<float>::infinity();
  float max_ = -std::numeric_limits<float>::infinity();
};

// Of a slice of a tensor that is trained, in one step.
struct SliceHistograms {
  int64_t step = 0;
  std::string tensor;
  int64_t first_entry = 0;  // of the slice, in the flattened tensor
  Histogram weights;        // before the step
  Histogram gradient;       // the slots' mean, before clipping
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_HISTOGRAM_H_

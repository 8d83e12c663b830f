// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace percentdelta {
namespace {

constexpr int kShift = 20;       // of a float's 23 bits of mantissa, three count
constexpr int kFirst = 87 << 3;  // of the bits of 2^-40, what is left

}  // namespace

int BucketOf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const int magnitude = static_cast<int>((bits & 0x7fffffff) >> kShift);
  const int bucket = std::clamp(magnitude - kFirst + 1, 0, kMaxBucket);
  return bits >> 31 != 0 ? -bucket : bucket;
}

double LowerLimit(int bucket) {
  const int magnitude = bucket - 1 + kFirst;
  return std::ldexp(8 + (magnitude & 7), (magnitude >> 3) - 127 - 3);
}

int64_t Histogram::entries() const {
  int64_t entries = 0;
  for (const auto& [bucket, count] : counts) entries += count;
  return entries;
}

void Histogram::Merge(const Histogram& other) {
  for (const auto& [bucket, count] : other.counts) counts[bucket] += count;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
}

void HistogramCounter::Add(absl::Span<const float> values) {
  for (const float value : values) {
    ++counts_[kMaxBucket + BucketOf(value)];
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
  }
}

void HistogramCounter::AddTo(Histogram& histogram) const {
  for (int bucket = -kMaxBucket; bucket <= kMaxBucket; ++bucket) {
    const int64_t count = counts_[kMaxBucket + bucket];
    if (count > 0) histogram.counts[bucket] += count;
  }
  histogram.min = std::min(histogram.min, min_);
  histogram.max = std::max(histogram.max, max_);
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/histogram_proto.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

absl::Status Invalid(absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("histogram: expected ", expected));
}

void ToProto(const Histogram& histogram, v1::Histogram& proto) {
  proto.set_min(histogram.min);
  proto.set_max(histogram.max);
  int previous = -kMaxBucket - 1;
  for (const auto& [bucket, count] : histogram.counts) {
    proto.add_bucket_distances(static_cast<uint32_t>(bucket - previous));
    proto.add_counts(static_cast<uint64_t>(count));
    previous = bucket;
  }
}

absl::StatusOr<Histogram> FromProto(const v1::Histogram& proto) {
  if (proto.counts_size() == 0 || proto.counts_size() != proto.bucket_distances_size()) {
    return Invalid(absl::StrCat("as many counts as distances of buckets, got ", proto.counts_size(),
                                " and ", proto.bucket_distances_size()));
  }
  Histogram histogram;
  int64_t bucket = -kMaxBucket - 1;
  int64_t left = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < proto.counts_size(); ++i) {
    bucket += proto.bucket_distances(i);
    if (proto.bucket_distances(i) == 0 || bucket > kMaxBucket) {
      return Invalid("ascending buckets");
    }
    const uint64_t count = proto.counts(i);
    if (count == 0 || count > static_cast<uint64_t>(left)) return Invalid("counts above 0");
    left -= static_cast<int64_t>(count);
    histogram.counts.emplace_hint(histogram.counts.end(), static_cast<int>(bucket),
                                  static_cast<int64_t>(count));
  }
  histogram.min = proto.min();
  histogram.max = proto.max();
  const bool fits = std::isfinite(histogram.min) && std::isfinite(histogram.max) &&
                    BucketOf(histogram.min) == histogram.counts.begin()->first &&
                    BucketOf(histogram.max) == histogram.counts.rbegin()->first;
  if (!fits) return Invalid("a minimum and a maximum in the first and the last bucket");
  return histogram;
}

}  // namespace

absl::StatusOr<SliceHistograms> FromProto(const v1::SliceHistograms& proto) {
  SliceHistograms histograms;
  histograms.step = proto.step();
  histograms.tensor = proto.tensor();
  histograms.first_entry = proto.first_entry();
  ASSIGN_OR_RETURN(histograms.weights, FromProto(proto.weights()));
  ASSIGN_OR_RETURN(histograms.gradient, FromProto(proto.gradient()));
  return histograms;
}

void ToProto(const SliceHistograms& histograms, v1::SliceHistograms& proto) {
  proto.set_step(histograms.step);
  proto.set_tensor(histograms.tensor);
  proto.set_first_entry(histograms.first_entry);
  ToProto(histograms.weights, *proto.mutable_weights());
  ToProto(histograms.gradient, *proto.mutable_gradient());
}

}  // namespace percentdelta

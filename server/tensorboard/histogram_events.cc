// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/histogram_events.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

double LowerEnd(int bucket) {
  if (bucket > 0) return LowerLimit(bucket);
  return -LowerLimit(1 - bucket);  // of bucket 0, too
}

double UpperEnd(int bucket) {
  if (bucket < 0) return -LowerLimit(-bucket);
  return LowerLimit(bucket + 1);
}

// A bucket begins where the one before it ends, so gaps are buckets without entries. TensorBoard
// replaces the first beginning and the last end by minimum and maximum, and does not use the sums.
void AddHistogram(tensorboard::Event& event, std::string tag, const Histogram& histogram) {
  tensorboard::Summary::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(std::move(tag));
  tensorboard::HistogramProto& proto = *value.mutable_histo();
  proto.set_min(histogram.min);
  proto.set_max(histogram.max);
  proto.set_num(static_cast<double>(histogram.entries()));
  int next = histogram.counts.begin()->first;
  for (const auto& [bucket, count] : histogram.counts) {
    if (bucket != next) {
      proto.add_bucket_limit(LowerEnd(bucket));
      proto.add_bucket(0);
    }
    proto.add_bucket_limit(UpperEnd(bucket));
    proto.add_bucket(static_cast<double>(count));
    next = bucket + 1;
  }
}

}  // namespace

tensorboard::Event HistogramEvent(const StepHistograms& step, absl::Time now) {
  tensorboard::Event event;
  event.set_wall_time(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  event.set_step(step.step);
  for (const TensorHistograms& tensor : step.tensors) {
    AddHistogram(event, absl::StrCat("weights/", tensor.tensor), tensor.weights);
    AddHistogram(event, absl::StrCat("gradients/", tensor.tensor), tensor.gradient);
  }
  return event;
}

}  // namespace percentdelta

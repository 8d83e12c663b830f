// SPDX-License-Identifier: Apache-2.0

// Conversion of histograms to and from messages.

#ifndef PERCENTDELTA_COMMON_CLUSTER_HISTOGRAM_PROTO_H_
#define PERCENTDELTA_COMMON_CLUSTER_HISTOGRAM_PROTO_H_

#include "absl/status/statusor.h"
#include "common/cluster/histogram.h"
#include "percentdelta/v1/histogram.pb.h"

namespace percentdelta {

// kInvalidArgument: no buckets in ascending order with a count each, or limits that do not fit.
absl::StatusOr<SliceHistograms> FromProto(const v1::SliceHistograms& proto);
void ToProto(const SliceHistograms& histograms, v1::SliceHistograms& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_HISTOGRAM_PROTO_H_

// SPDX-License-Identifier: Apache-2.0

// Conversion of update statistics to and from messages.

#ifndef PERCENTDELTA_COMMON_CLUSTER_STATISTICS_PROTO_H_
#define PERCENTDELTA_COMMON_CLUSTER_STATISTICS_PROTO_H_

#include "common/cluster/statistics.h"
#include "percentdelta/v1/statistics.pb.h"

namespace percentdelta {

TensorStatistics FromProto(const v1::TensorStatistics& proto);
void ToProto(const TensorStatistics& update, v1::TensorStatistics& proto);

StepStatistics FromProto(const v1::StepStatistics& proto);
void ToProto(const StepStatistics& step, v1::StepStatistics& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_STATISTICS_PROTO_H_

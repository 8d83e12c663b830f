// SPDX-License-Identifier: Apache-2.0

// Conversion of a training's progress to and from messages.

#ifndef PERCENTDELTA_COMMON_CLUSTER_PROGRESS_PROTO_H_
#define PERCENTDELTA_COMMON_CLUSTER_PROGRESS_PROTO_H_

#include <vector>

#include "common/cluster/progress.h"
#include "percentdelta/v1/coordinator.pb.h"

namespace percentdelta {

Progress FromProto(const v1::GetProgressResponse& proto);
void ToProto(const Progress& progress, v1::GetProgressResponse& proto);

void ToProto(const ProgressPoint& point, v1::TrainingPoint& proto);
void ToProto(const ProgressPoint& point, v1::EvaluationPoint& proto);

// The points of a repeated field of v1::TrainingPoint or v1::EvaluationPoint.
template <typename Points>
std::vector<ProgressPoint> PointsFromProto(const Points& protos) {
  std::vector<ProgressPoint> points;
  points.reserve(protos.size());
  for (const auto& proto : protos) {
    points.push_back({proto.step(), proto.loss(), proto.accuracy(), proto.seconds()});
    for (const v1::Metric& metric : proto.metrics()) {
      points.back().metrics.push_back({metric.name(), metric.value()});
    }
  }
  return points;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_PROGRESS_PROTO_H_

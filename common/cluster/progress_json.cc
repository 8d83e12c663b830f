// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/progress_json.h"

#include <utility>

#include "nlohmann/json.hpp"

namespace percentdelta {

using Json = nlohmann::ordered_json;

Json PointJson(const ProgressPoint& point) {
  Json metrics = Json::object();
  for (const Metric& metric : point.metrics) metrics[metric.name] = metric.value;
  return {{"step", point.step},
          {"loss", point.loss},
          {"accuracy", point.accuracy},
          {"seconds", point.seconds},
          {"metrics", std::move(metrics)}};
}

Json CheckpointJson(const std::optional<CheckpointProgress>& checkpoint) {
  if (!checkpoint) return nullptr;
  return {{"step", checkpoint->step},
          {"under_way", checkpoint->under_way},
          {"failures", checkpoint->failures},
          {"error", checkpoint->error},
          {"skipped", checkpoint->skipped}};
}

}  // namespace percentdelta

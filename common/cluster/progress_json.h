// SPDX-License-Identifier: Apache-2.0

// Parts of a training's progress as JSON: the same for pdctl and for the page.

#ifndef PERCENTDELTA_COMMON_CLUSTER_PROGRESS_JSON_H_
#define PERCENTDELTA_COMMON_CLUSTER_PROGRESS_JSON_H_

#include <optional>

#include "common/cluster/progress.h"
#include "nlohmann/json_fwd.hpp"

namespace percentdelta {

// {"step", "loss", "accuracy", "seconds", "metrics": {name: value}}.
nlohmann::ordered_json PointJson(const ProgressPoint& point);

// {"step", "under_way", "failures", "error", "skipped"}; null if the job has no checkpoints.
nlohmann::ordered_json CheckpointJson(const std::optional<CheckpointProgress>& checkpoint);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_PROGRESS_JSON_H_

// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/progress.h"

namespace percentdelta {

absl::string_view ToString(TrainingState state) {
  switch (state) {
    case TrainingState::kGathering:
      return "gathering";
    case TrainingState::kTraining:
      return "training";
    case TrainingState::kFinished:
      return "finished";
    case TrainingState::kFailed:
      return "failed";
    case TrainingState::kPaused:
      return "paused";
    case TrainingState::kDraining:
      return "draining";
    case TrainingState::kDrained:
      return "drained";
  }
  return "unknown";
}

absl::Duration TimeLeft(const Progress& progress) {
  if (progress.training.empty() || progress.state != TrainingState::kTraining) {
    return absl::ZeroDuration();
  }
  const ProgressPoint& last = progress.training.back();
  const double seconds_a_step = last.seconds / static_cast<double>(last.step + 1);
  return absl::Seconds(seconds_a_step * static_cast<double>(progress.max_steps - progress.step));
}

}  // namespace percentdelta

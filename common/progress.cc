#include "common/progress.h"

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
  }
  return "unknown";
}

}  // namespace percentdelta

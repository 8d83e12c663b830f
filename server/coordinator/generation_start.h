// SPDX-License-Identifier: Apache-2.0

// What a generation starts with, as far as it is on disk.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_GENERATION_START_H_
#define PERCENTDELTA_SERVER_COORDINATOR_GENERATION_START_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_store.h"

namespace percentdelta {

struct GenerationStart {
  uint64_t generation = 0;               // its number
  std::optional<Checkpoint> checkpoint;  // none: the job's initial weights
  bool paused = false;
};

// Looks for the newest complete checkpoint in `store`, or else opens the one in the directory
// `restore`; then records the generation's number in the store: `at_least`, or a greater one if
// that was used before. `paused`: whether the training is; nullopt: as the store recorded. `store`
// may be null and `restore` empty. Errors: of CheckpointStore's methods and of OpenCheckpoint().
absl::StatusOr<GenerationStart> PrepareGeneration(const Job& job, const CheckpointStore* store,
                                                  const std::string& restore, uint64_t at_least,
                                                  std::optional<bool> paused = std::nullopt);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_GENERATION_START_H_

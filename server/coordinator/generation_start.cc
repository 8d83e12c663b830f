// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/generation_start.h"

#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"

namespace percentdelta {

absl::StatusOr<GenerationStart> PrepareGeneration(const Job& job, const CheckpointStore* store,
                                                  const std::string& restore, uint64_t at_least,
                                                  std::optional<bool> paused) {
  GenerationStart start;
  start.generation = at_least;
  start.paused = paused.value_or(store != nullptr && store->ReadPaused());
  if (store != nullptr) {
    ASSIGN_OR_RETURN(start.checkpoint, store->FindNewest(job));
  }
  if (!start.checkpoint && !restore.empty()) {
    ASSIGN_OR_RETURN(start.checkpoint, OpenCheckpoint(restore, job));
  }
  if (store != nullptr) {
    start.generation = std::max(start.generation, store->ReadGeneration() + 1);
    RETURN_IF_ERROR(store->WriteGeneration(start.generation, job, start.paused));
  }
  return start;
}

}  // namespace percentdelta

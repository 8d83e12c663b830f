// SPDX-License-Identifier: Apache-2.0

// What servers do with checkpoints before they listen, so that a problem ends the program at once.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_START_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_START_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_store.h"

namespace percentdelta {

// What the training starts with, as given on the command line.
struct CheckpointStart {
  std::string restore;      // a checkpoint, or a directory of them; empty: the job's own
  bool no_restore = false;  // start at step 0
};

// Whether the training is going to start with a checkpoint, as far as this server, of any shard,
// can tell before the cluster is complete: it was given one, or the job's directory has a complete
// one. Does not check the checkpoint.
bool ExpectsCheckpoint(const Job& job, const CheckpointStart& start);

// Null if the job has no checkpoints.
std::shared_ptr<const CheckpointStore> MakeStore(const Job& job, const FaultPoints& faults,
                                                 const Logger& log);

// For shard 0: prepares the job's directory, checks that the checkpoints in it are not all damaged,
// and sets aside those that must not be found again. Returns the absolute directory of the
// checkpoint that `start.restore` names; empty if that is empty.
//   kInvalidArgument     both --restore and --no_restore
//   kNotFound            --restore: there is no checkpoint
//   kDataLoss            every checkpoint is damaged: the training does not fall back to step 0
//   kFailedPrecondition  a checkpoint of another job, or a name in the directory that is taken
//   others               the system's reason, with the path
absl::StatusOr<std::string> PrepareCheckpoints(const Job& job, const CheckpointStart& start,
                                               const FaultPoints& faults, const Logger& log);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_START_H_

// What shard 0 does with checkpoints before it listens: while there is still a terminal to tell.

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

// What the command line says of the beginning.
struct CheckpointStart {
  std::string restore;      // a checkpoint, or a directory of them; empty: the job's own
  bool no_restore = false;  // begin at step 0
};

// Null if the job has no checkpoints.
std::shared_ptr<const CheckpointStore> MakeStore(const Job& job, const FaultPoints& faults,
                                                 const Logger& log);

// Prepares the job's directory, checks that there is something whole to begin with, and sets aside
// the checkpoints that are not to be found again. Returns the absolute directory of the checkpoint
// that `start.restore` means; empty if it is.
//   kInvalidArgument     both --restore and --no_restore
//   kNotFound            --restore: no checkpoint is there
//   kDataLoss            every checkpoint is damaged: a training never begins at step 0 by itself
//   kFailedPrecondition  a checkpoint of another job, or a name in the directory that is in the way
//   others               the system's reason, with the path
absl::StatusOr<std::string> PrepareCheckpoints(const Job& job, const CheckpointStart& start,
                                               const FaultPoints& faults, const Logger& log);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_START_H_

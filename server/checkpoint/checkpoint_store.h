// SPDX-License-Identifier: Apache-2.0

// The directory of a training's checkpoints, as the coordinator sees it.
//
//   cluster.json                            the generation that was opened last, its job, and
//                                           whether the training is paused
//   step-0000000050/                        a checkpoint: the weights of step 50, and all that
//     shard-00000-of-00003.safetensors      belongs to them
//     ...
//     history.pb
//     manifest.json                         written last: without it this is not a checkpoint
//   set-aside-1/step-...                    checkpoints that a restart with --restore or
//                                           --no_restore left behind
//
// Reads, writes and removes only these names (checkpoint_directory.h); leaves all other files in
// the directory alone.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_STORE_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/history_file.h"
#include "server/checkpoint/manifest.h"

namespace percentdelta {

// Thread-compatible: the files are its state. Only one process at a time may use a directory.
class CheckpointStore {
 public:
  // Retains `max_kept` complete checkpoints.
  CheckpointStore(std::string directory, int max_kept, FaultPoints faults, Logger log);

  const std::string& directory() const { return directory_; }

  // Creates the directory, and removes what writers that died have left in it. Logs which other
  // files it holds, and whether the file system cannot sync directories.
  //   kFailedPrecondition  no server wrote the cluster.json that is there
  //   others               it cannot be created, listed or written: the system's reason
  absl::Status Prepare() const;

  // The generation that was opened last; 0 if there was none, or if the file cannot be read, which
  // is logged.
  uint64_t ReadGeneration() const;
  absl::Status WriteGeneration(uint64_t generation, const Job& job, bool paused = false) const;

  // Whether the training was paused when the generation was last written; false if that is not
  // known.
  bool ReadPaused() const;

  // kFailedPrecondition, naming the fields that differ, if another job's generation was opened
  // last. A file that cannot be read is accepted.
  absl::Status CheckOwner(const Job& job) const;

  // The newest complete checkpoint; nothing if there is none. Logs damaged ones that are newer,
  // each with its file and what is wrong, and passes over them. A step's directory without a
  // manifest was left by unfinished writing: it is neither a checkpoint nor damaged.
  //   kDataLoss            there are checkpoints and all are damaged; the message names them
  //   kFailedPrecondition  it is another job's; the message names the fields
  //   others               the directory cannot be read: the system's reason
  absl::StatusOr<std::optional<Checkpoint>> FindNewest(const Job& job) const;

  // kFailedPrecondition if a symbolic link with the name of a step's directory leads to a
  // checkpoint, which FindNewest() does not follow.
  absl::Status CheckLinks() const;

  // Completes a checkpoint whose slice files the shards have reported: checks that the coordinator
  // sees them (CheckSliceFile), writes the history, then the manifest with its list of files. Then
  // removes the oldest checkpoints beyond `max_kept` and what is left of older ones that failed.
  // `initial_step`: where the generation started. Checkpoints between that step and this one that
  // other generations wrote were found damaged; they are removed. What cannot be removed is logged
  // and retried the next time.
  //   kNotFound  a slice file is not here: its shard sees another directory
  //   others     the system's reason, with the path
  absl::Status Complete(Manifest manifest, const std::vector<FileEntry>& slice_files,
                        const History& history, int64_t initial_step) const;

  // Moves the checkpoints of steps beyond `step`, complete or not, into a set-aside directory.
  absl::Status SetAside(int64_t step) const;

 private:
  void LogForeign() const;

  // Removes temporary files of dead writers.
  absl::Status RemoveTemporaries() const;
  absl::Status RemoveTemporaries(const std::string& step_directory) const;

  // Removes what the checkpoint of `manifest` makes superfluous.
  absl::Status Prune(const Manifest& manifest, int64_t initial_step) const;

  const std::string directory_;
  const int max_kept_;
  const FaultPoints faults_;
  const Logger log_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_STORE_H_

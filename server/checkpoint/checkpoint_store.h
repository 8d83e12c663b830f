// The directory of a training's checkpoints, as the coordinator sees it.
//
//   cluster.json                            the generation that was opened last, and its job
//   step-0000000050/                        a checkpoint: the weights of step 50, and all that
//     shard-00000-of-00003.safetensors      belongs to them
//     ...
//     history.pb
//     manifest.json                         comes last: without it this is no checkpoint
//   set-aside-1/step-...                    checkpoints that a restart with --restore or
//                                           --no_restore left behind
//
// Only these names are read, written and removed (checkpoint_directory.h); what else is in the
// directory stays as it is.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_STORE_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_STORE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/history_file.h"
#include "server/checkpoint/manifest.h"

namespace percentdelta {

// A checkpoint whose files have all been found whole.
struct Checkpoint {
  std::string directory;  // its own
  Manifest manifest;
  History history;
};

// Thread-compatible: the files are the state. One process at a time may use a directory.
class CheckpointStore {
 public:
  CheckpointStore(std::string directory, int keep, FaultPoints faults, Logger log);

  const std::string& directory() const { return directory_; }

  // Makes the directory, and clears it of what writers that died have left. Logs what is in it that
  // is not the servers' own, and if the file system cannot sync directories.
  //   kFailedPrecondition  cluster.json is not what a server has written
  //   others               the directory cannot be made, listed or written: the system's reason
  absl::Status Prepare() const;

  // The generation that was opened last, 0 if there was none. One that cannot be read is logged
  // and taken for none.
  uint64_t ReadGeneration() const;
  absl::Status WriteGeneration(uint64_t generation, const Job& job) const;

  // kFailedPrecondition: the generation that was opened last was another job's; the message names
  // the fields. One that cannot be read refuses nobody.
  absl::Status CheckOwner(const Job& job) const;

  // The newest whole checkpoint, nothing if there is none. Damaged ones that are newer are logged,
  // each with its file and what is wrong, and passed over. A step's directory without a manifest is
  // what an unfinished writing left: no checkpoint, and none that is damaged.
  //   kDataLoss            there are checkpoints, and all are damaged: names them, and what is
  //   wrong kFailedPrecondition  it is another job's: the message names the fields others the
  //   directory cannot be read: the system's reason
  absl::StatusOr<std::optional<Checkpoint>> FindNewest(const Job& job) const;

  // kFailedPrecondition if a symbolic link in the place of a step's directory leads to a
  // checkpoint, which FindNewest() does not follow.
  absl::Status CheckLinks() const;

  // Ends the writing of a checkpoint, whose slice files have been reported: checks that they are
  // here (CheckSliceFile), writes the history, then the manifest, whose files it fills in. Then
  // removes the oldest checkpoints beyond `keep`, and what is left of older ones that failed.
  // `begun_at`: the step at which the generation began; what is between that and this checkpoint,
  // and of another generation, has been found damaged, and goes. What cannot be removed is logged,
  // and tried again the next time.
  //   kNotFound  a slice file is not here: its shard sees another directory
  //   others     the system's reason, with the path
  absl::Status Complete(Manifest manifest, const std::vector<FileEntry>& slice_files,
                        const History& history, int64_t begun_at) const;

  // Moves the checkpoints of steps beyond `step`, whole or not, out of the way.
  absl::Status SetAside(int64_t step) const;

 private:
  absl::Status CheckWritable() const;
  void LogForeign() const;

  // Removes temporary files of dead writers.
  absl::Status RemoveTemporaries() const;
  absl::Status RemoveTemporaries(const std::string& step_directory) const;

  // Removes what the checkpoint of `manifest` makes superfluous.
  absl::Status Prune(const Manifest& manifest, int64_t begun_at) const;

  const std::string directory_;
  const int keep_;
  const FaultPoints faults_;
  const Logger log_;
};

// Reads the checkpoint in `directory` and checks every file of it against the manifest.
//   kNotFound            there is no manifest
//   kDataLoss            a file is damaged: which one, and what is wrong
//   kFailedPrecondition  it is another job's: the message names the fields
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& directory, const Job& job);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_STORE_H_

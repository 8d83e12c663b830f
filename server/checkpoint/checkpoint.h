// SPDX-License-Identifier: Apache-2.0

// A checkpoint on disk, checked against its manifest.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/job/job.h"
#include "server/checkpoint/history_file.h"
#include "server/checkpoint/manifest.h"

namespace percentdelta {

// A checkpoint whose files all match its manifest.
struct Checkpoint {
  std::string directory;  // its own
  Manifest manifest;
  History history;
};

// Reads the checkpoint in `directory` and checks every file of it against the manifest.
//   kNotFound            there is no manifest
//   kDataLoss            a file is damaged; the message names it and what is wrong
//   kFailedPrecondition  it is another job's; the message names the fields that differ
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& directory, const Job& job);

// Reads the manifest alone. kNotFound and kDataLoss as above; others: the system's reason.
absl::StatusOr<Manifest> ReadManifest(const std::string& directory);

// kFailedPrecondition, naming `what` and the fields, if `written`, the job that `what` belongs to,
// differs from `job` in anything that determines the weights.
absl::Status CheckSameJob(absl::string_view what, const Job& job, const Job& written);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_H_

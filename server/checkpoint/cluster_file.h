// SPDX-License-Identifier: Apache-2.0

// cluster.json in a directory of checkpoints: the generation that was opened last, its job, and
// whether the training is paused.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CLUSTER_FILE_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CLUSTER_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fault_point.h"
#include "common/job/job.h"

namespace percentdelta {

struct ClusterRecord {
  uint64_t generation = 0;
  bool paused = false;
  std::string job;  // in its text format; empty: the file has none
};

// kNotFound: there is no file; kDataLoss: no server wrote it; others: the system's reason, with the
// path.
absl::StatusOr<ClusterRecord> ReadClusterFile(const std::string& directory);

// Replaces the file. Errors: the system's reason, with the path.
absl::Status WriteClusterFile(const std::string& directory, uint64_t generation, bool paused,
                              const Job& job, const FaultPoints& faults);

// Checks that the file can be replaced. A full disk is not an error here: checkpoints that fail
// report it.
//   kFailedPrecondition  the file, or what has its name, was not written by a server
//   others               it cannot be read or written: the system's reason, with the path
absl::Status CheckClusterFile(const std::string& directory);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CLUSTER_FILE_H_

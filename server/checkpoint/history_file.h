// SPDX-License-Identifier: Apache-2.0

// The coordinator's part of a checkpoint: curves and statistics of the steps before it, in the file
// history.pb, a v1.History.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_HISTORY_FILE_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_HISTORY_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/fault_point.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"
#include "server/checkpoint/slice_file.h"

namespace percentdelta {

inline constexpr char kHistoryName[] = "history.pb";

// The results of the steps before a checkpoint's step; for the job's last step also its evaluation.
// All in ascending order of steps.
struct History {
  std::vector<ProgressPoint> training;
  std::vector<ProgressPoint> evaluations;
  std::vector<StepStatistics> statistics;
  std::string arithmetic;  // of the workers, or the first one; empty: no worker yet
  std::string data;        // fingerprint of the workers' data; empty: not known
  std::vector<std::string> other_arithmetic = {};  // see WorkerCompatibility
};

// Writes it durably into `directory`. Passes the fault point "history" first. Errors: the system's
// reason, with the path.
absl::StatusOr<FileEntry> WriteHistory(const std::string& directory, const History& history,
                                       const FaultPoints& faults);

// kNotFound: no such file; kDataLoss: not such a message; others: the system's reason, with the
// path.
absl::StatusOr<History> ReadHistory(const std::string& directory);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_HISTORY_FILE_H_

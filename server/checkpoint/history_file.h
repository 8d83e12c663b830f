// The coordinator's part of a checkpoint: the curves and the statistics of the steps before it, as
// the file history.pb, a v1.History.

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

// What came before a step, and of the job's last step its evaluation, too. Ascending steps
// everywhere.
struct History {
  std::vector<ProgressPoint> training;
  std::vector<ProgressPoint> evaluations;
  std::vector<StepStatistics> statistics;
  std::string arithmetic;  // of the workers; empty: none yet
  std::string data;        // fingerprint of theirs; empty: none has said
};

// Writes it durably into `directory`. Passes the fault point "history" first.
absl::StatusOr<FileEntry> WriteHistory(const std::string& directory, const History& history,
                                       const FaultPoints& faults);

// kDataLoss: no such message; others: the system's reason, with the path.
absl::StatusOr<History> ReadHistory(const std::string& directory);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_HISTORY_FILE_H_

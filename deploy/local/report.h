// What remains of a training: two tables for programs and one page for people.

#ifndef PERCENTDELTA_DEPLOY_LOCAL_REPORT_H_
#define PERCENTDELTA_DEPLOY_LOCAL_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"

namespace percentdelta {

struct ReportData {
  Job job;
  Progress progress;                       // at the end, with the whole history
  std::vector<StepStatistics> statistics;  // ascending steps; may be empty
  std::string weights_sha256;
  std::string command;  // that made it
};

// Makes the directory if need be and sees whether one may write there: to be asked before hours of
// training. The status names the path and the system's reason.
absl::Status PrepareReport(const std::string& directory);

// Writes into the directory, which is made if need be:
//   progress.csv    step, loss, accuracy, seconds; the test set's where it was evaluated
//   statistics.csv  what every step did to every tensor, all fields
//   report.html     one self-contained page: the curves, the quantities of the paper's Figure 1,
//                   the last step's table, the settings
// A file is there whole or not at all. The status names the path and the system's reason.
absl::Status WriteReport(const std::string& directory, const ReportData& data);

// The parts, for tests.
std::string ProgressCsv(const Progress& progress);
std::string ReportHtml(const ReportData& data);

}  // namespace percentdelta

#endif  // PERCENTDELTA_DEPLOY_LOCAL_REPORT_H_

// SPDX-License-Identifier: Apache-2.0

// Writes the report of a training: two tables for programs and one page for people.

#ifndef PERCENTDELTA_CLIENT_PDCTL_REPORT_H_
#define PERCENTDELTA_CLIENT_PDCTL_REPORT_H_

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
  std::string command;  // that trained; empty: not known
};

// Creates the directory if necessary, and checks that it is writable: call it before hours of
// training. The error names the path and the system's reason.
absl::Status PrepareReport(const std::string& directory);

// Writes to the directory, which is created if necessary:
//   progress.csv    the curves: see ProgressCsv (client/pdctl/progress_format.h)
//   statistics.csv  all statistics of every step and tensor
//   report.html     the live page (common/page/page_template.h) with these data: one self-contained
//                   document, which asks no server
// Each file is written atomically. The error names the path and the system's reason.
absl::Status WriteReport(const std::string& directory, const ReportData& data);

// Returns the content of report.html. Public for tests.
std::string ReportHtml(const ReportData& data);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_REPORT_H_

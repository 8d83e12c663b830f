// SPDX-License-Identifier: Apache-2.0

// Formats the curves of a training: as a table for people, as JSON and CSV for programs.

#ifndef PERCENTDELTA_CLIENT_PDCTL_PROGRESS_FORMAT_H_
#define PERCENTDELTA_CLIENT_PDCTL_PROGRESS_FORMAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/cluster/progress.h"

namespace percentdelta {

// Removes the points before the newest `steps` steps.
void KeepLastSteps(int64_t steps, Progress& progress);

// The names of all metrics of a curve's points, in the order in which they first occur.
std::vector<std::string> MetricNames(const std::vector<ProgressPoint>& points);

// Returns one row per step: loss, accuracy and metrics of its training batches and, where it was
// evaluated, of the test set. Starts with a line of headings. Every line ends with a newline, here
// and below.
std::string ProgressTable(const Progress& progress);

// Returns {"training": [...], "evaluations": [...]}, each an array of points. Numbers parse to the
// same doubles.
std::string ProgressJson(const Progress& progress);

// Returns the columns step, loss, accuracy, test_loss, test_accuracy, seconds, and then for each
// metric metrics.NAME or test_metrics.NAME. A field without a value is empty.
std::string ProgressCsv(const Progress& progress);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_PROGRESS_FORMAT_H_

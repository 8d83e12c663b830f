// SPDX-License-Identifier: Apache-2.0

// Formats update statistics: as a table for people, as JSON and CSV for programs.

#ifndef PERCENTDELTA_CLIENT_PDCTL_STATISTICS_FORMAT_H_
#define PERCENTDELTA_CLIENT_PDCTL_STATISTICS_FORMAT_H_

#include <string>
#include <vector>

#include "common/cluster/statistics.h"

namespace percentdelta {

// Returns aligned columns, one row per step and tensor: the relative change and that of plain SGD,
// in percent of the tensor's L1 norm; the rule's multiplier; the L1 norms. Starts with a line of
// headings unless `headings` is false. Every line ends with a newline, here and below.
std::string FormatTable(const std::vector<StepStatistics>& steps, bool headings = true);

// Return an array of steps, or for a stream one object per line, with all fields of
// TensorStatistics. Numbers parse to the same doubles.
std::string FormatJson(const std::vector<StepStatistics>& steps);
std::string FormatJsonLine(const StepStatistics& step);

// Returns one row per step and tensor, with the same fields and precision, in every locale.
std::string FormatCsv(const std::vector<StepStatistics>& steps, bool headings = true);

// Returns a name as a field of CSV: escaped, so that a row stays one line, and quoted if necessary.
std::string CsvField(const std::string& name);

// Returns the shortest decimal that parses to the same double.
std::string ShortestDecimal(double value);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_STATISTICS_FORMAT_H_

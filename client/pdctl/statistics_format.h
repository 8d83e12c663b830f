// Update statistics as text: a table for people, JSON and CSV for programs.

#ifndef PERCENTDELTA_CLIENT_PDCTL_STATISTICS_FORMAT_H_
#define PERCENTDELTA_CLIENT_PDCTL_STATISTICS_FORMAT_H_

#include <string>
#include <vector>

#include "common/cluster/statistics.h"

namespace percentdelta {

// Aligned columns, a row a tensor: relative change and what plain SGD would have changed, in
// percent of the tensor's L1 norm; the rule's multiplier; the L1 norms. A line of headings unless
// `headings` is false. Every line ends with a newline, here and below.
std::string FormatTable(const std::vector<StepStatistics>& steps, bool headings = true);

// An array of steps, or for a stream one object a line. All fields of TensorStatistics; numbers
// read back as the same doubles.
std::string FormatJson(const std::vector<StepStatistics>& steps);
std::string FormatJsonLine(const StepStatistics& step);

// A row a tensor and step, with the same fields and precision, whatever the locale.
std::string FormatCsv(const std::vector<StepStatistics>& steps, bool headings = true);

// The shortest decimal that reads back as the same double.
std::string ShortestDecimal(double value);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_STATISTICS_FORMAT_H_

// SPDX-License-Identifier: Apache-2.0

// Formats the state of a training: as a table for people, as JSON for programs.

#ifndef PERCENTDELTA_CLIENT_PDCTL_STATUS_FORMAT_H_
#define PERCENTDELTA_CLIENT_PDCTL_STATUS_FORMAT_H_

#include <string>

#include "common/cluster/progress.h"

namespace percentdelta {

// Returns a row for each thing that is known. Every line ends with a newline, here and below.
std::string StatusTable(const Progress& progress);

// Returns one object.
std::string StatusJson(const Progress& progress);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_STATUS_FORMAT_H_

// SPDX-License-Identifier: Apache-2.0

// The flags --metrics, --metrics_password_file and --metrics_insecure, for the mains that include
// this.

#ifndef PERCENTDELTA_COMMON_PROGRAM_METRICS_FLAGS_H_
#define PERCENTDELTA_COMMON_PROGRAM_METRICS_FLAGS_H_

#include "common/metrics/exporter.h"

namespace percentdelta {

// As given; not checked.
MetricsOptions MetricsOptionsFromFlags();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_METRICS_FLAGS_H_

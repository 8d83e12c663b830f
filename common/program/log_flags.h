// SPDX-License-Identifier: Apache-2.0

// The flags --log_format and --log_level, for the mains that include this.

#ifndef PERCENTDELTA_COMMON_PROGRAM_LOG_FLAGS_H_
#define PERCENTDELTA_COMMON_PROGRAM_LOG_FLAGS_H_

#include "common/base/log.h"

namespace percentdelta {

LogOptions LogOptionsFromFlags();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_LOG_FLAGS_H_

// SPDX-License-Identifier: Apache-2.0

// The values of a log line, by the keys in its format (log.h).

#ifndef PERCENTDELTA_COMMON_BASE_LOG_FIELDS_H_
#define PERCENTDELTA_COMMON_BASE_LOG_FIELDS_H_

#include <spdlog/fmt/fmt.h>

#include <string>

namespace percentdelta {

// Returns `"event":"...","key":value,...` of a format and its arguments, without braces. A value
// that is one number or truth value and nothing else stays one; everything else is a string:
// escaped as in text logs, and cut. `format` must be valid for `args`, with automatic numbering.
std::string JsonFields(fmt::string_view format, fmt::format_args args);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LOG_FIELDS_H_

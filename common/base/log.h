// SPDX-License-Identifier: Apache-2.0

// Logs for people who read the interleaved lines of several processes: one line per event, with
// time, level, process, event, and key=value pairs.
//
//   2026-01-31T12:00:00.123Z I server-0 generation opened generation=3 shards=2

#ifndef PERCENTDELTA_COMMON_BASE_LOG_H_
#define PERCENTDELTA_COMMON_BASE_LOG_H_

#include <spdlog/fmt/fmt.h>
#include <spdlog/logger.h>

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

// Allows absl's messages as arguments of a log line.
template <>
struct fmt::formatter<absl::string_view> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(absl::string_view text, Context& context) const {
    return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
  }
};

namespace percentdelta {

using Logger = std::shared_ptr<spdlog::logger>;

// Thread-safe; writes to standard error, line by line, on its own thread: a call never waits for
// the reader of the log. When 1 MiB is queued, lines are dropped, and a line reports how many.
// Control characters are escaped, so that an event is always one line. `who` is role and index,
// "server-0".
//
// Logger::flush() and the logger's destructor wait for at most a second until everything is
// written. Flush before writing to standard error directly.
Logger MakeLogger(const std::string& who);

// The same, to another file descriptor, which the caller owns.
Logger MakeLogger(const std::string& who, int descriptor);

// Discards everything.
Logger MakeSilentLogger();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LOG_H_

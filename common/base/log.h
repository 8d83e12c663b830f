// Logs for people who read four processes' lines interleaved: one line an event, with time, level,
// who speaks, what happened, and key=value pairs.
//
//   2026-01-31T12:00:00.123Z I server-0 generation opened generation=3 shards=2

#ifndef PERCENTDELTA_COMMON_BASE_LOG_H_
#define PERCENTDELTA_COMMON_BASE_LOG_H_

#include <spdlog/fmt/fmt.h>
#include <spdlog/logger.h>

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

// absl's messages as arguments of a log line.
template <>
struct fmt::formatter<absl::string_view> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(absl::string_view text, Context& context) const {
    return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
  }
};

namespace percentdelta {

using Logger = std::shared_ptr<spdlog::logger>;

// Thread-safe; writes to standard error, a line at a time, on a thread of its own: a call never
// waits for whoever reads the log. When 1 MiB waits, lines are dropped, and a line tells how many.
// Control characters are escaped: an event is one line, whatever it tells of. `who` is role and
// index, "server-0".
//
// Logger::flush() and the end of the logger wait for at most a second until all is written: flush
// before writing to standard error oneself.
Logger MakeLogger(const std::string& who);

// The same, to another file descriptor, which stays the caller's.
Logger MakeLogger(const std::string& who, int descriptor);

// Swallows everything.
Logger MakeSilentLogger();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LOG_H_

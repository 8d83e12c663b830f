// Logs for people who read four processes' lines interleaved: one line an event, with time, level,
// who speaks, what happened, and key=value pairs.
//
//   2026-01-31T12:00:00.123Z I server-0 generation opened generation=3 shards=2

#ifndef PERCENTDELTA_COMMON_LOG_H_
#define PERCENTDELTA_COMMON_LOG_H_

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

// Thread-safe; writes to standard error, a line at a time. `who` is role and index, "server-0".
Logger MakeLogger(const std::string& who);

// Swallows everything.
Logger MakeSilentLogger();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_LOG_H_

// SPDX-License-Identifier: Apache-2.0

// Logs: one line per event, as text for people who read the interleaved lines of several processes,
// or as JSON for log pipelines.
//
//   2026-01-31T12:00:00.123Z I server-0 generation opened generation=3 shards=2
//   {"time":"2026-01-31T12:00:00.123Z","level":"info","process":"server-0",
//    "event":"generation opened","generation":3,"shards":2}                       (on one line)
//
// Both come from the format that the caller gives: words, then key={} or key="{}" for each value.
// In JSON what precedes the first key is the event; numbers stay numbers. Keys come from the format
// alone, never from a value.

#ifndef PERCENTDELTA_COMMON_BASE_LOG_H_
#define PERCENTDELTA_COMMON_BASE_LOG_H_

#include <spdlog/fmt/fmt.h>
#include <spdlog/logger.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

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

enum class LogFormat { kText, kJson };

struct LogOptions {
  LogFormat format = LogFormat::kText;
  spdlog::level::level_enum level = spdlog::level::info;  // lines below it are dropped
};

// A handle of a log, used like a pointer; null unless it was given a logger. Thread-safe. Logging
// formats the line and queues it; the caller never waits for the log's reader, so that it may hold
// a lock.
class Logger {
 public:
  Logger() = default;
  Logger(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): like a pointer
  template <typename SpdLogger>
  Logger(std::shared_ptr<SpdLogger> logger,  // NOLINT(google-explicit-constructor)
         LogFormat format = LogFormat::kText)
      : logger_(std::move(logger)), format_(format) {}

  template <typename... Args>
  void debug(fmt::format_string<Args...> event, Args&&... args) const {
    Write(spdlog::level::debug, event, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> event, Args&&... args) const {
    Write(spdlog::level::info, event, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void warn(fmt::format_string<Args...> event, Args&&... args) const {
    Write(spdlog::level::warn, event, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void error(fmt::format_string<Args...> event, Args&&... args) const {
    Write(spdlog::level::err, event, fmt::make_format_args(args...));
  }

  // Waits for at most a second until everything is written; so does the end of the last handle.
  // Flush before writing to standard error directly.
  void flush() const { logger_->flush(); }
  void set_level(spdlog::level::level_enum level) const { logger_->set_level(level); }

  // What lines are handed to, for tests.
  spdlog::logger& sink() const { return *logger_; }

  const Logger* operator->() const { return this; }
  bool operator==(std::nullptr_t) const { return logger_ == nullptr; }

 private:
  void Write(spdlog::level::level_enum level, fmt::string_view event, fmt::format_args args) const;

  std::shared_ptr<spdlog::logger> logger_;
  LogFormat format_ = LogFormat::kText;
};

// Writes to standard error, line by line, on its own thread. When 1 MiB is queued, lines are
// dropped, and a line reports how many. Control characters are escaped, so that an event is always
// one line. `who` is role and index, "server-0".
Logger MakeLogger(const std::string& who, LogOptions options = {});

// The same, to another file descriptor, which the caller owns.
Logger MakeLogger(const std::string& who, int descriptor, LogOptions options = {});

// Discards everything.
Logger MakeSilentLogger();

// Lines that the logs of this process have dropped since it started.
int64_t DroppedLogLines();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LOG_H_

// SPDX-License-Identifier: Apache-2.0

#include "common/base/log.h"

#include <spdlog/details/log_msg.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/sink.h>
#include <unistd.h>

#include <mutex>
#include <string>
#include <utility>

#include "common/base/line_writer.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxLineBytes = 16 << 10;
constexpr size_t kMaxWaitingBytes = 1 << 20;
constexpr absl::Duration kFlush = absl::Seconds(1);

std::unique_ptr<spdlog::formatter> MakeFormatter() {
  return std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %L %n %v",
                                                     spdlog::pattern_time_type::utc);
}

// Hands lines to a LineWriter. Escapes them here, where every line passes, so that no argument can
// forge a line.
class LineSink : public spdlog::sinks::sink {
 public:
  LineSink(int descriptor, std::string who)
      : who_(std::move(who)), writer_(descriptor, kMaxWaitingBytes, [this](int64_t dropped) {
          return Format(spdlog::details::log_msg(
              who_, spdlog::level::warn,
              fmt::format("log lines dropped={} reason=\"the log could not be written, or its "
                          "reader was too slow\"",
                          dropped)));
        }) {}

  void log(const spdlog::details::log_msg& message) override {
    const std::string text =
        EscapeForLog({message.payload.data(), message.payload.size()}, kMaxLineBytes);
    spdlog::details::log_msg escaped = message;
    escaped.payload = text;
    writer_.Write(Format(escaped));
  }

  void flush() override { writer_.Flush(kFlush); }

  // There is only one format.
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  std::string Format(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    const std::lock_guard<std::mutex> lock(mutex_);
    formatter_->format(message, line);
    return {line.data(), line.size()};
  }

  const std::string who_;
  std::mutex mutex_;
  const std::unique_ptr<spdlog::formatter> formatter_ = MakeFormatter();  // guarded by mutex_
  LineWriter writer_;  // the last member: its thread uses the others
};

}  // namespace

Logger MakeLogger(const std::string& who, int descriptor) {
  const std::string name = EscapeForLog(who, kMaxNameBytes);
  return std::make_shared<spdlog::logger>(name, std::make_shared<LineSink>(descriptor, name));
}

Logger MakeLogger(const std::string& who) { return MakeLogger(who, STDERR_FILENO); }

Logger MakeSilentLogger() {
  return std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::null_sink_mt>());
}

}  // namespace percentdelta

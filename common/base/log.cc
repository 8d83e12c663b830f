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

#include "absl/strings/str_cat.h"
#include "common/base/line_writer.h"
#include "common/base/log_fields.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxLineBytes = 16 << 10;
constexpr size_t kMaxWaitingBytes = 1 << 20;
constexpr absl::Duration kFlush = absl::Seconds(1);

std::unique_ptr<spdlog::formatter> MakeFormatter(LogFormat format) {
  const char* const pattern = format == LogFormat::kText
                                  ? "%Y-%m-%dT%H:%M:%S.%eZ %L %n %v"
                                  : R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%n,%v})";
  return std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc);
}

// The part of each line that names the process: `who`, escaped.
std::string ProcessField(const std::string& who, LogFormat format) {
  std::string name = EscapeForLog(who, kMaxNameBytes);
  if (format == LogFormat::kText) return name;
  const std::string fields = JsonFields("process={}", fmt::make_format_args(name));
  return fields.substr(fields.find("\"process\""));
}

// The content of a line, from the format that the caller gave.
std::string Content(LogFormat log_format, fmt::string_view format, fmt::format_args args) {
  if (log_format == LogFormat::kJson) return JsonFields(format, args);
  return fmt::vformat(format, args);
}

// Hands lines to a LineWriter. Escapes text here, where every line passes, so that no argument can
// forge a line; JSON comes escaped.
class LineSink : public spdlog::sinks::sink {
 public:
  LineSink(int descriptor, std::string process, LogFormat format)
      : process_(std::move(process)),
        format_(format),
        formatter_(MakeFormatter(format)),
        writer_(descriptor, kMaxWaitingBytes, [this](int64_t dropped) {
          constexpr char kNote[] =
              "log lines dropped dropped={} reason=\"the log could not be written, or its reader "
              "was too slow\"";
          const std::string content = Content(format_, kNote, fmt::make_format_args(dropped));
          return Format(spdlog::details::log_msg(process_, spdlog::level::warn, content));
        }) {}

  void log(const spdlog::details::log_msg& message) override {
    if (format_ == LogFormat::kJson) {
      writer_.Write(Format(message));
      return;
    }
    const std::string text =
        EscapeForLog({message.payload.data(), message.payload.size()}, kMaxLineBytes);
    spdlog::details::log_msg escaped = message;
    escaped.payload = text;
    writer_.Write(Format(escaped));
  }

  void flush() override { writer_.Flush(kFlush); }

  // The format is fixed.
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  std::string Format(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    const std::lock_guard<std::mutex> lock(mutex_);
    formatter_->format(message, line);
    return {line.data(), line.size()};
  }

  const std::string process_;
  const LogFormat format_;
  std::mutex mutex_;
  const std::unique_ptr<spdlog::formatter> formatter_;  // guarded by mutex_
  LineWriter writer_;  // the last member: its thread uses the others
};

}  // namespace

void Logger::Write(spdlog::level::level_enum level, fmt::string_view event,
                   fmt::format_args args) const {
  if (!logger_->should_log(level)) return;
  const std::string content = Content(format_, event, args);
  logger_->log(level, spdlog::string_view_t(content));
}

Logger MakeLogger(const std::string& who, int descriptor, LogOptions options) {
  const std::string process = ProcessField(who, options.format);
  Logger logger(std::make_shared<spdlog::logger>(
                    process, std::make_shared<LineSink>(descriptor, process, options.format)),
                options.format);
  logger.set_level(options.level);
  return logger;
}

Logger MakeLogger(const std::string& who, LogOptions options) {
  return MakeLogger(who, STDERR_FILENO, options);
}

Logger MakeSilentLogger() {
  return std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::null_sink_mt>());
}

int64_t DroppedLogLines() { return LineWriter::total_dropped(); }

}  // namespace percentdelta

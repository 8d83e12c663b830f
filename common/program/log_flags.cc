// SPDX-License-Identifier: Apache-2.0

#include "common/program/log_flags.h"

#include <array>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

struct Format {
  LogFormat value;
};

struct Level {
  spdlog::level::level_enum value;
};

constexpr std::array<std::pair<absl::string_view, LogFormat>, 2> kFormats = {
    {{"text", LogFormat::kText}, {"json", LogFormat::kJson}}};
constexpr std::array<std::pair<absl::string_view, spdlog::level::level_enum>, 4> kLevels = {
    {{"debug", spdlog::level::debug},
     {"info", spdlog::level::info},
     {"warning", spdlog::level::warn},
     {"error", spdlog::level::err}}};

template <typename Names, typename Value>
bool Parse(const Names& names, absl::string_view text, Value& value, std::string* error) {
  for (const auto& [name, named] : names) {
    if (name == text) {
      value = named;
      return true;
    }
  }
  *error = "not one of the values that --help lists";
  return false;
}

template <typename Names, typename Value>
std::string NameOf(const Names& names, Value value) {
  for (const auto& [name, named] : names) {
    if (named == value) return std::string(name);
  }
  return "";
}

bool AbslParseFlag(absl::string_view text, Format* format, std::string* error) {
  return Parse(kFormats, text, format->value, error);
}

std::string AbslUnparseFlag(const Format& format) { return NameOf(kFormats, format.value); }

bool AbslParseFlag(absl::string_view text, Level* level, std::string* error) {
  return Parse(kLevels, text, level->value, error);
}

std::string AbslUnparseFlag(const Level& level) { return NameOf(kLevels, level.value); }

}  // namespace
}  // namespace percentdelta

ABSL_FLAG(percentdelta::Format, log_format, percentdelta::Format{percentdelta::LogFormat::kText},
          "of the log on standard error: text, or json with one object a line");
ABSL_FLAG(percentdelta::Level, log_level, percentdelta::Level{spdlog::level::info},
          "the least important lines to log: debug, info, warning or error");

namespace percentdelta {

LogOptions LogOptionsFromFlags() {
  return {absl::GetFlag(FLAGS_log_format).value, absl::GetFlag(FLAGS_log_level).value};
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/base/log_fields.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxValueBytes = 4096;
constexpr char kEvent[] = "event";

// A part of a format: `pattern` numbers its arguments explicitly, so that it can be formatted
// alone.
struct Part {
  std::string key;
  std::string pattern;
  int arguments = 0;
  int last_argument = -1;
};

// The key that begins at the start of `text`, as in "step={}"; empty if none does.
absl::string_view KeyAt(absl::string_view text) {
  size_t length = 0;
  while (length < text.size() && (absl::ascii_islower(text[length]) || text[length] == '_' ||
                                  (length > 0 && absl::ascii_isdigit(text[length])))) {
    ++length;
  }
  const bool ends = length > 0 && length < text.size() && text[length] == '=';
  return ends ? text.substr(0, length) : absl::string_view();
}

std::vector<Part> Split(absl::string_view format) {
  std::vector<Part> parts(1);
  parts.back().key = kEvent;
  int arguments = 0;
  bool quoted = false;
  for (size_t i = 0; i < format.size(); ++i) {
    const bool starts_word = !quoted && (i == 0 || format[i - 1] == ' ');
    if (const absl::string_view key = starts_word ? KeyAt(format.substr(i)) : absl::string_view();
        !key.empty()) {
      parts.emplace_back();
      parts.back().key = std::string(key);
      i += key.size();
      continue;
    }
    Part& part = parts.back();
    if (format[i] == '"') quoted = !quoted;
    part.pattern += format[i];
    const bool doubled = i + 1 < format.size() && format[i + 1] == format[i];
    if ((format[i] == '{' || format[i] == '}') && doubled) {
      part.pattern += format[++i];
    } else if (format[i] == '{') {
      part.last_argument = arguments;
      ++part.arguments;
      absl::StrAppend(&part.pattern, arguments++);
    }
  }
  return parts;
}

// Whether the part is one argument that is a number or a truth value, and nothing else.
bool IsNumber(const Part& part, absl::string_view pattern, const fmt::format_args& args) {
  if (part.arguments != 1 || pattern.front() != '{' || pattern.find('}') != pattern.size() - 1) {
    return false;
  }
  return args.get(part.last_argument).is_arithmetic();
}

nlohmann::ordered_json ValueOf(const Part& part, const fmt::format_args& args) {
  absl::string_view pattern = absl::StripAsciiWhitespace(part.pattern);
  if (pattern.size() >= 2 && pattern.front() == '"' && pattern.back() == '"') {
    pattern = pattern.substr(1, pattern.size() - 2);
  }
  const std::string text = fmt::vformat(fmt::string_view(pattern.data(), pattern.size()), args);
  if (!pattern.empty() && IsNumber(part, pattern, args)) {
    nlohmann::ordered_json number = nlohmann::ordered_json::parse(text, nullptr, false);
    if (!number.is_discarded()) return number;  // otherwise it is nan, inf or a character
  }
  return EscapeForLog(text, kMaxValueBytes);
}

}  // namespace

std::string JsonFields(fmt::string_view format, fmt::format_args args) {
  nlohmann::ordered_json fields;
  for (const Part& part : Split({format.data(), format.size()})) {
    fields[part.key] = ValueOf(part, args);
  }
  const std::string object =
      fields.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return object.substr(1, object.size() - 2);
}

}  // namespace percentdelta

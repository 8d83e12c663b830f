// SPDX-License-Identifier: Apache-2.0

#include "common/base/text.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace percentdelta {
namespace {

// Length of the UTF-8 sequence at the start of `text`: 1 to 4, or 0 if it is invalid. C1 control
// characters (U+0080 to U+009F), which terminals interpret, count as invalid.
size_t SequenceLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool beyond = (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90);
  const bool control = lead == 0xc2 && second < 0xa0;
  return overlong || beyond || control ? 0 : length;
}

bool IsControl(char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; }

std::string EscapeByte(char c) {
  switch (c) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return absl::StrFormat("\\x%02x", static_cast<uint8_t>(c));
  }
}

}  // namespace

std::string EscapeForLog(absl::string_view text, size_t max_bytes) {
  constexpr absl::string_view kCut = "...";
  std::string escaped;
  size_t fits = 0;  // length of `escaped` that leaves room for kCut
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const bool plain = length > 1 || (length == 1 && !IsControl(text[0]));
    const std::string next = plain ? std::string(text.substr(0, length)) : EscapeByte(text[0]);
    if (escaped.size() + next.size() > max_bytes) {
      escaped.resize(fits);
      return absl::StrCat(escaped, kCut.substr(0, max_bytes - fits));
    }
    escaped += next;
    if (escaped.size() + kCut.size() <= max_bytes) fits = escaped.size();
    text.remove_prefix(plain ? length : 1);
  }
  return escaped;
}

absl::Status CheckName(absl::string_view what, absl::string_view name) {
  if (name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": expected at most ", kMaxNameBytes, " bytes, got ", name.size()));
  }
  for (absl::string_view rest = name; !rest.empty();) {
    const size_t length = SequenceLength(rest);
    if (length == 0 || (length == 1 && IsControl(rest[0]))) {
      return absl::InvalidArgumentError(absl::StrCat(what, ": expected printable UTF-8, got \"",
                                                     EscapeForLog(name, 4 * kMaxNameBytes), "\""));
    }
    rest.remove_prefix(length);
  }
  return absl::OkStatus();
}

absl::Status CheckPrintableAscii(absl::string_view what, absl::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": expected at most ", max_bytes, " bytes, got ", text.size()));
  }
  const auto fits = [](char c) { return c >= ' ' && c < 0x7f; };
  if (std::all_of(text.begin(), text.end(), fits)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": expected printable ASCII, got ", QuoteForLog(text)));
}

bool IsKey(absl::string_view name) {
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; });
}

std::string QuoteForLog(absl::string_view text) {
  constexpr size_t kShown = 80;
  return absl::StrCat("\"", EscapeForLog(text, kShown), "\"");
}

}  // namespace percentdelta

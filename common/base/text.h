// SPDX-License-Identifier: Apache-2.0

// Makes text from outside safe for a log line, a terminal or a status message.

#ifndef PERCENTDELTA_COMMON_BASE_TEXT_H_
#define PERCENTDELTA_COMMON_BASE_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// Maximum length of a worker's name, in bytes.
inline constexpr size_t kMaxNameBytes = 128;

// Maximum length of a peer's reason or other free text that is retained, in bytes.
inline constexpr size_t kMaxReasonBytes = 1000;

// Returns `text` on one line: control characters and bytes that are not UTF-8 become C escapes
// ("\n", "\x1b"); the rest is unchanged. If the result is longer than `max_bytes`, cuts it and ends
// it with "...".
std::string EscapeForLog(absl::string_view text, size_t max_bytes);

// Returns kInvalidArgument, naming `what`, if `name` is longer than kMaxNameBytes, contains a
// control character, or is not UTF-8.
absl::Status CheckName(absl::string_view what, absl::string_view name);

// Returns kInvalidArgument, naming `what`, if `text` is longer than `max_bytes` or is not printable
// ASCII.
absl::Status CheckPrintableAscii(absl::string_view what, absl::string_view text, size_t max_bytes);

// Whether `name` can be a key in files, on command lines, in other tools: printable ASCII without
// blanks, quotes and backslashes.
bool IsKey(absl::string_view name);

// Formats text for messages: escaped, cut, in quotes.
std::string QuoteForLog(absl::string_view text);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_TEXT_H_

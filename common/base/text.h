// Text that came from elsewhere, made fit for a log line, a terminal or a status message.

#ifndef PERCENTDELTA_COMMON_BASE_TEXT_H_
#define PERCENTDELTA_COMMON_BASE_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// Longest name that a worker may have, in bytes.
inline constexpr size_t kMaxNameBytes = 128;

// Longest reason or other free text that is kept of a peer, in bytes.
inline constexpr size_t kMaxReasonBytes = 1000;

// `text` on one line: control characters and bytes that are not UTF-8 become C escapes ("\n",
// "\x1b"); the rest stays as it is. Cut to at most `max_bytes`, with "..." at the end, if it is
// longer.
std::string EscapeForLog(absl::string_view text, size_t max_bytes);

// kInvalidArgument, naming `what`, if `name` has more than kMaxNameBytes, a control character, or
// is not UTF-8.
absl::Status CheckName(absl::string_view what, absl::string_view name);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_TEXT_H_

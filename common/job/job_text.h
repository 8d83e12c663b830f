// The text of a job file, as people's editors, shells and tools leave it.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_TEXT_H_
#define PERCENTDELTA_COMMON_JOB_JOB_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace percentdelta {

// Longest job file, in bytes.
inline constexpr size_t kMaxJobFileBytes = size_t{16} << 20;

// The bytes of a regular file, or of a pipe to its end (a shell's <(...)). Errors name the path and
// the system's reason. kInvalidArgument: not a file or a pipe, or longer than kMaxJobFileBytes;
// kDeadlineExceeded: a pipe into which nothing was written for `silence`.
absl::StatusOr<std::string> ReadJobFile(const std::string& path,
                                        absl::Duration silence = absl::Seconds(3));

// `text` without a byte order mark, and with line feeds where it has only carriage returns.
// kInvalidArgument: it is empty, UTF-16 or UTF-32, or holds NULs; the message goes behind the name
// of the source: ":LINE:COLUMN: reason" or ": reason".
absl::StatusOr<std::string> PlainJobText(absl::string_view text);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_TEXT_H_

// SPDX-License-Identifier: Apache-2.0

// Reads the text of a job file, as editors, shells and other tools write it.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_TEXT_H_
#define PERCENTDELTA_COMMON_JOB_JOB_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace percentdelta {

// Maximum size of a job file, in bytes.
inline constexpr size_t kMaxJobFileBytes = size_t{16} << 20;

// Reads a regular file, or a pipe to its end (a shell's <(...)). Errors name the path and the
// system's error. kInvalidArgument: neither a file nor a pipe, or longer than kMaxJobFileBytes;
// kDeadlineExceeded: a pipe to which nothing was written for `silence`.
absl::StatusOr<std::string> ReadJobFile(const std::string& path,
                                        absl::Duration silence = absl::Seconds(3));

// Removes a byte order mark from `text`, and converts line ends that are carriage returns alone to
// line feeds. kInvalidArgument: the text is empty, UTF-16 or UTF-32, or contains NULs; the message
// is to be appended to the name of the source: ":LINE:COLUMN: reason" or ": reason".
absl::StatusOr<std::string> PlainJobText(absl::string_view text);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_TEXT_H_

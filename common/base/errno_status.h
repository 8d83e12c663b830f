// SPDX-License-Identifier: Apache-2.0

// Errors of system calls as statuses and as text.

#ifndef PERCENTDELTA_COMMON_BASE_ERRNO_STATUS_H_
#define PERCENTDELTA_COMMON_BASE_ERRNO_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// The system's text for an errno value: "No such file or directory". Thread-safe.
std::string ErrnoMessage(int error);

// "WHAT: ErrnoMessage", with the code that Abseil maps the errno value to: kNotFound for ENOENT,
// kPermissionDenied for EACCES, and so on.
absl::Status ErrnoStatus(int error, absl::string_view what);

// "cannot ACTION OBJECT: ErrnoMessage", as in "cannot open /a/b: Permission denied".
absl::Status ErrnoStatus(int error, absl::string_view action, absl::string_view object);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_ERRNO_STATUS_H_

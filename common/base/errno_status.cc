// SPDX-License-Identifier: Apache-2.0

#include "common/base/errno_status.h"

#include <system_error>

#include "absl/strings/str_cat.h"

namespace percentdelta {

std::string ErrnoMessage(int error) { return std::generic_category().message(error); }

absl::Status ErrnoStatus(int error, absl::string_view what) {
  return absl::ErrnoToStatus(error, what);
}

absl::Status ErrnoStatus(int error, absl::string_view action, absl::string_view object) {
  return absl::ErrnoToStatus(error, absl::StrCat("cannot ", action, " ", object));
}

}  // namespace percentdelta

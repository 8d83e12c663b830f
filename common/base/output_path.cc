// SPDX-License-Identifier: Apache-2.0

#include "common/base/output_path.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace percentdelta {

absl::StatusOr<std::string> ResolveOutputPath(const std::string& path, bool follow_links) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string target = path;
  const bool is_link = fs::is_symlink(path, error);
  if (is_link && !follow_links) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot write ", path, ": expected a regular file or nothing there, got a symbolic link"));
  }
  if (is_link) {
    const fs::path resolved = fs::weakly_canonical(path, error);
    if (!error) target = resolved.string();
  }
  const fs::file_status status = fs::status(target, error);
  if (!fs::exists(status) || fs::is_regular_file(status)) return target;
  return absl::InvalidArgumentError(
      absl::StrCat("cannot write ", path, ": expected a regular file or nothing there, got ",
                   fs::is_directory(status) ? "a directory" : "a device or a pipe"));
}

}  // namespace percentdelta

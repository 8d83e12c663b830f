// SPDX-License-Identifier: Apache-2.0

// The path at which a file that is written and then renamed into place belongs.

#ifndef PERCENTDELTA_COMMON_BASE_OUTPUT_PATH_H_
#define PERCENTDELTA_COMMON_BASE_OUTPUT_PATH_H_

#include <string>

#include "absl/status/statusor.h"

namespace percentdelta {

// Returns the path itself, or its target if it is a symbolic link, which a rename would replace.
// kInvalidArgument: the path exists and is not a regular file, such as a device or a directory,
// which a rename would destroy; or it is a link, and `follow_links` is false.
absl::StatusOr<std::string> ResolveOutputPath(const std::string& path, bool follow_links = true);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_OUTPUT_PATH_H_

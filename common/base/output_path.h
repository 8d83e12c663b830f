// Where a file that is written whole, and renamed into place, belongs.

#ifndef PERCENTDELTA_COMMON_BASE_OUTPUT_PATH_H_
#define PERCENTDELTA_COMMON_BASE_OUTPUT_PATH_H_

#include <string>

#include "absl/status/statusor.h"

namespace percentdelta {

// The path itself, or what it leads to if it is a symbolic link: a rename would replace the link.
// kInvalidArgument: something is there that is not a regular file, such as a device or a directory,
// which a rename would destroy; or a link, if links are not to be followed.
absl::StatusOr<std::string> ResolveOutputPath(const std::string& path, bool follow_links = true);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_OUTPUT_PATH_H_

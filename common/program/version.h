// SPDX-License-Identifier: Apache-2.0

// The version of the program.

#ifndef PERCENTDELTA_COMMON_PROGRAM_VERSION_H_
#define PERCENTDELTA_COMMON_PROGRAM_VERSION_H_

#include <string>

#include "absl/strings/string_view.h"

namespace percentdelta {

// The release, as in "0.1.0".
extern const char kVersion[];

// Git's name of the sources, as in "v0.1.0-12-g0123456789ab" or "0123456789ab-dirty"; "unknown" if
// they were built outside of a repository.
extern const char kRevision[];

// Text for --version: program, version, revision, and the libraries that define the wire format.
std::string VersionText(absl::string_view program);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_VERSION_H_

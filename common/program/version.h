// What was built.

#ifndef PERCENTDELTA_COMMON_PROGRAM_VERSION_H_
#define PERCENTDELTA_COMMON_PROGRAM_VERSION_H_

#include <string>

#include "absl/strings/string_view.h"

namespace percentdelta {

// The release, as in "0.1.0".
extern const char kVersion[];

// What git calls the sources, as in "v0.1.0-12-g0123456789ab" or "0123456789ab-dirty"; "unknown" if
// they were built outside of a repository.
extern const char kRevision[];

// For --version: program, version, revision, and the libraries that decide what goes over the wire.
std::string VersionText(absl::string_view program);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_VERSION_H_

// SPDX-License-Identifier: Apache-2.0

// Exit codes, limits of flags, and parsing of the command line, for all programs.

#ifndef PERCENTDELTA_COMMON_PROGRAM_COMMAND_LINE_H_
#define PERCENTDELTA_COMMON_PROGRAM_COMMAND_LINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace percentdelta {

// Exit codes of all binaries.
inline constexpr int kExitFailure = 1;   // the operation failed
inline constexpr int kExitUsage = 2;     // the command line is invalid
inline constexpr int kExitReplaced = 3;  // another process has taken this one's place for good

// Maximum values of flags, far beyond what is useful: a typing error must not start a thousand
// threads or use up the memory.
inline constexpr int64_t kMaxThreads = 1024;
inline constexpr int64_t kMaxShards = 1024;
inline constexpr int64_t kMaxLocalShards = 64;  // in one process, with their threads
inline constexpr int64_t kMaxLocalWorkers = 256;
inline constexpr int64_t kMaxHistory = 10'000'000;  // steps
inline constexpr absl::Duration kMaxTime = absl::Hours(24 * 365);

// Parses absl flags anywhere on the command line, with dashes or underscores in their names. --help
// or -h prints `usage` and the flags that main.cc and the files *_flags.cc define (usage texts name
// those of other files),
// --version prints `version`, and both exit with 0. An unknown flag, a missing value or an invalid
// one prints one line and exits with kExitUsage. Returns the other words, without the program's
// name. Silences gRPC's log, which is not for users.
std::vector<std::string> ParseCommandLine(int argc, char** argv, const std::string& usage,
                                          const std::string& version = "");

// Whether the flag was on the command line that was parsed, with any value.
bool IsGiven(absl::string_view flag);

// Returns kInvalidArgument, naming `what`, the limit and the value, if the value is out of range.
absl::Status CheckRange(absl::string_view what, int64_t value, int64_t min, int64_t max);
absl::Status CheckRange(absl::string_view what, absl::Duration value, absl::Duration min,
                        absl::Duration max = kMaxTime);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_COMMAND_LINE_H_

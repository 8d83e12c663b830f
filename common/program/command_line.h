// What the binaries' mains share.

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
inline constexpr int kExitFailure = 1;  // it could not be done
inline constexpr int kExitUsage = 2;    // the command line makes no sense

// What flags may say at most. Far beyond what makes sense: a slip of the pen must not start a
// thousand threads or take all memory.
inline constexpr int64_t kMaxThreads = 1024;
inline constexpr int64_t kMaxShards = 1024;
inline constexpr int64_t kMaxLocalShards = 64;  // in one process, with their threads
inline constexpr int64_t kMaxLocalWorkers = 256;
inline constexpr int64_t kMaxHistory = 10'000'000;  // steps
inline constexpr absl::Duration kMaxTime = absl::Hours(24 * 365);

// Parses absl flags, wherever they stand, with dashes or underscores in their names. --help or -h
// prints `usage` and the flags of main.cc (of another file none: its usage names them), --version
// prints `version`, and both exit with 0; a flag that does not exist, lacks its value or has a
// senseless one exits with kExitUsage and one line. Returns the other words, without the program's
// name. Keeps gRPC's own log, which is not for users, quiet.
std::vector<std::string> ParseCommandLine(int argc, char** argv, const std::string& usage,
                                          const std::string& version = "");

// Whether the flag stood on the command line that was parsed, with whatever value.
bool IsGiven(absl::string_view flag);

// kInvalidArgument, naming `what`, the limit and the value, if the value is outside of the range.
absl::Status CheckRange(absl::string_view what, int64_t value, int64_t least, int64_t most);
absl::Status CheckRange(absl::string_view what, absl::Duration value, absl::Duration least,
                        absl::Duration most = kMaxTime);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_COMMAND_LINE_H_

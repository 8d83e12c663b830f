// What the binaries' mains share.

#ifndef PERCENTDELTA_COMMON_COMMAND_LINE_H_
#define PERCENTDELTA_COMMON_COMMAND_LINE_H_

#include <string>
#include <vector>

namespace percentdelta {

// Exit codes of all binaries.
inline constexpr int kExitFailure = 1;  // it could not be done
inline constexpr int kExitUsage = 2;    // the command line makes no sense

// Parses absl flags, wherever they stand, with dashes or underscores in their names. --help or -h
// prints `usage` and the flags of main.cc (of another file none: its usage names them) and exits
// with 0; a flag that does not exist, lacks its value or has a senseless one exits with kExitUsage
// and one line. Returns the other words, without the program's name. Keeps gRPC's own log, which is
// not for users, quiet, and has a file that may not grow fail like a full disk.
std::vector<std::string> ParseCommandLine(int argc, char** argv, const std::string& usage);

// Blocks SIGTERM and SIGINT for the process, to be waited for by AwaitStopSignal. To be called
// before any thread is started.
void BlockStopSignals();

// Waits for one of them and returns its number.
int AwaitStopSignal();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_COMMAND_LINE_H_

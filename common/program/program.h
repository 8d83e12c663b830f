// SPDX-License-Identifier: Apache-2.0

// The common part of all mains: programs do not depend on a reader of their output, and every
// failure ends in one line and an exit code.

#ifndef PERCENTDELTA_COMMON_PROGRAM_PROGRAM_H_
#define PERCENTDELTA_COMMON_PROGRAM_PROGRAM_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/program/command_line.h"

namespace percentdelta {

struct Program {
  const char* name;   // "pd-server", in messages
  std::string usage;  // what it does, for --help
  bool takes_words;   // false: rejects words that are not flags

  // Gets the words that are not flags. Returns the exit code.
  std::function<int(const std::vector<std::string>& words)> run;
};

// Runs the program from its main, and returns its exit code.
//
// First opens /dev/null in place of closed standard descriptors; ignores SIGPIPE and SIGXFSZ, so
// that a closed pipe and the file-size limit are ordinary write errors; and parses the command line
// (ParseCommandLine). An exception, in any thread, ends the program with kExitFailure and one line
// that names the exhausted resource and the limits. The same holds if a library calls abort() for
// lack of threads or memory.
int RunProgram(int argc, char** argv, const Program& program);

// Prints "NAME: message" to standard error, escaped, on one line. Gives up after a second if
// standard error blocks.
void PrintError(absl::string_view name, absl::string_view message);

// Prints the status's message with PrintError and returns `code`.
int Fail(absl::string_view name, const absl::Status& status, int code = kExitFailure);

// Whether the descriptor is a pipe, a socket or a terminal whose other end is closed.
bool ReaderIsGone(int descriptor);

// Flushes std::cout. Returns kUnavailable if the output could not be written. A reader that has
// closed the pipe is not an error.
absl::Status FlushOutput();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_PROGRAM_H_

// What the mains of all programs have in common: they depend on nobody who reads what they print,
// and whatever goes wrong ends in one line and an exit code.

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
  bool takes_words;   // false: words that are not flags are refused

  // With the words that are not flags. Returns the exit code.
  std::function<int(const std::vector<std::string>& words)> run;
};

// Runs the program from its main, and returns its exit code.
//
// Before: opens /dev/null in the place of standard descriptors that are closed; ignores SIGPIPE and
// SIGXFSZ, so that a reader that is gone and a file that may not grow are errors of the write; and
// parses the command line (ParseCommandLine). Nothing is thrown out of it: an exception, in any
// thread, ends in one line that names what ran out and the limits, and in kExitFailure. The same
// for an abort() of a library for want of threads or memory.
int RunProgram(int argc, char** argv, const Program& program);

// "NAME: message" to standard error, escaped, on one line. Gives up after a second if nobody reads.
void PrintError(absl::string_view name, absl::string_view message);

// Prints the status's message like that and returns `code`.
int Fail(absl::string_view name, const absl::Status& status, int code = kExitFailure);

// Whether the descriptor is a pipe, a socket or a terminal whose other end is closed.
bool ReaderIsGone(int descriptor);

// Flushes std::cout. kUnavailable if what was printed could not be written, but for want of a
// reader: one that has seen enough is not an error.
absl::Status FlushOutput();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_PROGRAM_H_

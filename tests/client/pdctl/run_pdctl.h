// SPDX-License-Identifier: Apache-2.0

// Runs the binary pdctl, for its tests.

#ifndef PERCENTDELTA_TESTS_CLIENT_PDCTL_RUN_PDCTL_H_
#define PERCENTDELTA_TESTS_CLIENT_PDCTL_RUN_PDCTL_H_

#include <string>
#include <vector>

namespace percentdelta {

inline constexpr char kPdctl[] = PD_PDCTL;  // its path

struct CommandResult {
  int code = 0;  // exit code
  std::string out;
  std::string err;
};

// Runs a shell command in which "pdctl" is the binary under test.
CommandResult Shell(const std::string& command);

// Runs pdctl with the arguments, which the shell splits.
CommandResult Pdctl(const std::string& arguments);

// Splits a text into lines; fails the test if the last one does not end with a newline.
std::vector<std::string> Lines(const std::string& text);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_CLIENT_PDCTL_RUN_PDCTL_H_

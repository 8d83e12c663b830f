// SPDX-License-Identifier: Apache-2.0

#include "tests/client/pdctl/run_pdctl.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/local/process.h"
#include "tests/temporary_directory.h"

namespace percentdelta {

CommandResult Shell(const std::string& command) {
  const TemporaryDirectory directory;
  const std::string out = directory.path() + "/out";
  const std::string err = directory.path() + "/err";
  Process process({"/bin/sh", "-c",
                   absl::StrCat("pdctl() { '", kPdctl, "' \"$@\"; }; exec 2>'", err, "' >'", out,
                                "'; ", command)});
  CommandResult result;
  result.code = process.Wait();
  result.out = ReadFile(out);
  result.err = ReadFile(err);
  return result;
}

CommandResult Pdctl(const std::string& arguments) {
  return Shell(absl::StrCat("pdctl ", arguments));
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_EQ(lines.back(), "") << "no newline at the end of " << text;
  lines.pop_back();
  return lines;
}

}  // namespace percentdelta

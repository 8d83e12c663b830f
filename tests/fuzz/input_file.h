// SPDX-License-Identifier: Apache-2.0

// A fuzzer's input as a file, for what reads files only.

#ifndef PERCENTDELTA_TESTS_FUZZ_INPUT_FILE_H_
#define PERCENTDELTA_TESTS_FUZZ_INPUT_FILE_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/descriptors.h"

namespace percentdelta {

// In memory, under a name of its own in /proc, for as long as the object lives.
class InputFile {
 public:
  InputFile(const uint8_t* data, size_t size) : file_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (!file_.ok() || write(file_.get(), data, size) != static_cast<ssize_t>(size)) std::abort();
  }

  std::string path() const { return absl::StrCat("/proc/self/fd/", file_.get()); }

 private:
  const UniqueDescriptor file_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_FUZZ_INPUT_FILE_H_

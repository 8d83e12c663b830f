// SPDX-License-Identifier: Apache-2.0

// A new directory, removed with its contents at the end.

#ifndef PERCENTDELTA_TESTS_TEMPORARY_DIRECTORY_H_
#define PERCENTDELTA_TESTS_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace percentdelta {

class TemporaryDirectory {
 public:
  TemporaryDirectory()
      : path_((std::filesystem::temp_directory_path() / "pd-test-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "cannot make " << path_;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_TEMPORARY_DIRECTORY_H_

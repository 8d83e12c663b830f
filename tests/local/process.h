// SPDX-License-Identifier: Apache-2.0

// Child processes for tests, which start by posix_spawn (a process that uses gRPC must not fork)
// and never outlive the test.

#ifndef PERCENTDELTA_TESTS_LOCAL_PROCESS_H_
#define PERCENTDELTA_TESTS_LOCAL_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/temporary_directory.h"
#include "worker/data/dataset.h"

namespace percentdelta {

// Not thread-safe. The destructor kills the process.
class Process {
 public:
  // `arguments` begins with the program's path. Standard output and error go to the same file.
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();

  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;  // kills the process that it had

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;

  // Waits until the process ends. Returns its exit code, -signal if a signal ended it, or kTimeout.
  static constexpr int kTimeout = 1000;
  int Wait(absl::Duration timeout = absl::Seconds(60));

  // Returns what it has printed so far.
  std::string output() const;

  // Waits until the process has printed the text; returns false after `timeout`.
  bool AwaitOutput(const std::string& text, absl::Duration timeout = absl::Seconds(60)) const;

 private:
  void End();

  pid_t pid_ = -1;
  int exit_code_ = kTimeout;
  std::string output_path_;
};

// Returns HOST:PORT from the line "listening address=HOST:PORT" of a server's log.
std::string ListenAddressIn(const std::string& log);

// Waits until the server listens, and returns its address.
std::string ListenAddress(const Process& server);

// Returns the content of the file.
std::string ReadFile(const std::string& path);

// Writes `text` to the file.
void WriteFile(const std::string& path, const std::string& text);

// Writes the four IDX files of a data set to the directory.
void WriteIdxFiles(const Dataset& training_set, const Dataset& test_set,
                   const std::string& directory);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_LOCAL_PROCESS_H_

// Child processes for tests: started with posix_spawn (a process that uses gRPC must not fork), and
// never outliving the test.

#ifndef PERCENTDELTA_TESTS_LOCAL_PROCESS_H_
#define PERCENTDELTA_TESTS_LOCAL_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/temporary_directory.h"
#include "worker/data/dataset.h"

namespace percentdelta {

// Not thread-safe. The destructor kills.
class Process {
 public:
  // `arguments` begins with the program's path. Standard output and error go into one file.
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();

  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;

  // Exit code, or -signal, or kTimeout.
  static constexpr int kTimeout = 1000;
  int Wait(absl::Duration timeout = absl::Seconds(60));

  // What it has printed so far.
  std::string output() const;

  // Whether the text has been printed within the time.
  bool AwaitOutput(const std::string& text, absl::Duration timeout = absl::Seconds(60)) const;

 private:
  pid_t pid_ = -1;
  int exit_code_ = kTimeout;
  std::string output_path_;
};

// Writes `text` to the path.
void WriteFile(const std::string& path, const std::string& text);

// Writes the four files of a data set for pd-worker.
void WriteIdxFiles(const Dataset& training_set, const Dataset& test_set,
                   const std::string& directory);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_LOCAL_PROCESS_H_

// SPDX-License-Identifier: Apache-2.0

#include "tests/local/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

extern char** environ;

namespace percentdelta {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(10);

std::string BigEndian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

void WriteIdxPair(const Dataset& dataset, const std::string& stem) {
  const std::string images = absl::StrCat(
      std::string("\0\0\x08\x03", 4), BigEndian(dataset.count), BigEndian(dataset.rows),
      BigEndian(dataset.columns), std::string(dataset.pixels.begin(), dataset.pixels.end()));
  const std::string labels =
      absl::StrCat(std::string("\0\0\x08\x01", 4), BigEndian(dataset.count),
                   std::string(dataset.labels.begin(), dataset.labels.end()));
  WriteFile(stem + "-images-idx3-ubyte", images);
  WriteFile(stem + "-labels-idx1-ubyte", labels);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments) {
  std::string path = (std::filesystem::temp_directory_path() / "pd-output-XXXXXX").string();
  const int file = mkstemp(path.data());
  output_path_ = path;
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, file, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, file, STDERR_FILENO);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(file);
  if (error != 0) {
    pid_ = -1;
    ADD_FAILURE() << "cannot start " << arguments.front() << ": error " << error;
  }
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      exit_code_(other.exit_code_),
      output_path_(std::exchange(other.output_path_, "")) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  End();
  pid_ = std::exchange(other.pid_, -1);
  exit_code_ = other.exit_code_;
  output_path_ = std::exchange(other.output_path_, "");
  return *this;
}

Process::~Process() { End(); }

void Process::End() {
  if (pid_ > 0) {
    Signal(SIGKILL);
    Wait();
  }
  if (!output_path_.empty()) std::filesystem::remove(output_path_);
}

void Process::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

int Process::Wait(absl::Duration timeout) {
  const absl::Time give_up = absl::Now() + timeout;
  while (pid_ > 0) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      exit_code_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    } else if (absl::Now() > give_up) {
      return kTimeout;
    } else {
      absl::SleepFor(kPoll);
    }
  }
  return exit_code_;
}

std::string Process::output() const { return ReadFile(output_path_); }

bool Process::AwaitOutput(const std::string& text, absl::Duration timeout) const {
  const absl::Time give_up = absl::Now() + timeout;
  while (output().find(text) == std::string::npos) {
    if (absl::Now() > give_up) return false;
    absl::SleepFor(kPoll);
  }
  return true;
}

std::string ListenAddressIn(const std::string& log) {
  for (const std::string key : {"listening address=", R"("event":"listening","address":")"}) {
    const size_t position = log.find(key);
    if (position == std::string::npos) continue;
    const size_t begin = position + key.size();
    return log.substr(begin, log.find_first_of(" \"", begin) - begin);
  }
  return "";
}

std::string ListenAddress(const Process& server) {
  EXPECT_TRUE(server.AwaitOutput("listening address=")) << server.output();
  return ListenAddressIn(server.output());
}

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  EXPECT_TRUE(file.good()) << path;
}

void WriteIdxFiles(const Dataset& training_set, const Dataset& test_set,
                   const std::string& directory) {
  WriteIdxPair(training_set, directory + "/train");
  WriteIdxPair(test_set, directory + "/t10k");
}

}  // namespace percentdelta

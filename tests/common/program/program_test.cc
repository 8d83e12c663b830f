// SPDX-License-Identifier: Apache-2.0

#include "common/program/program.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "common/base/limits.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ExitedWithCode;
using ::testing::HasSubstr;

int RunWith(std::vector<std::string> words, const std::function<int()>& body,
            bool takes_words = false) {
  words.insert(words.begin(), "/bin/prog");
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return RunProgram(static_cast<int>(words.size()), argv.data(),
                    {"prog", "Does nothing.", takes_words,
                     [&body](const std::vector<std::string>& /*words*/) { return body(); }});
}

struct Failing {
  const char* name;
  std::function<int()> body;
  const char* message;  // a regular expression
};

class ProgramTest : public ::testing::TestWithParam<Failing> {
 protected:
  ProgramTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_P(ProgramTest, FailsWithOneLineAndCode1) {
  EXPECT_EXIT(std::exit(RunWith({}, GetParam().body)), ExitedWithCode(kExitFailure),
              std::string("^prog: ") + GetParam().message + "[^\n]*\n$");
}

TEST_P(ProgramTest, FailsTheSameWayInAThread) {
  EXPECT_EXIT(std::exit(RunWith({},
                                [] {
                                  std::thread([] { GetParam().body(); }).join();
                                  return 0;
                                })),
              ExitedWithCode(kExitFailure), std::string("^prog: ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Exceptions, ProgramTest,
    testing::Values(
        Failing{"BadAlloc", []() -> int { throw std::bad_alloc(); },
                "out of memory; limits: .*this machine"},
        Failing{"NoThread",
                []() -> int { throw std::system_error(EAGAIN, std::generic_category()); },
                "cannot start a thread: .*limits: "},
        Failing{"Length",
                [] {
                  return static_cast<int>(std::string().max_size() == 0 ||
                                          std::vector<int>(size_t{1} << 62).empty());
                },
                "something is too large for memory"},
        Failing{"RuntimeError", []() -> int { throw std::runtime_error("odd\nforged"); },
                "unexpected: odd\\\\nforged"},
        Failing{"NoException", []() -> int { throw 7; }, "unexpected exception"},
        Failing{"LibraryWithoutMemory",
                []() -> int {
                  errno = ENOMEM;
                  std::abort();
                },
                "a library ran out of memory or threads"}),
    [](const auto& info) { return info.param.name; });

TEST(ProgramStartTest, ReturnsTheProgramsCode) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto five = [] { return 5; };
  EXPECT_EXIT(std::exit(RunWith({}, five)), ExitedWithCode(5), "^$");
  EXPECT_EXIT(std::exit(RunWith({"word"}, five)), ExitedWithCode(kExitUsage),
              "^prog: unexpected argument word \\(see --help\\)\n$");
  EXPECT_EXIT(std::exit(RunWith({"word"}, five, /*takes_words=*/true)), ExitedWithCode(5), "^$");
  EXPECT_EXIT(std::exit(RunWith({"--version"}, five)), ExitedWithCode(0), "^$");
}

// A file that is opened later must not get the number of a standard descriptor.
TEST(ProgramStartTest, OpensStandardDescriptorsThatAreClosed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const std::vector<int>& closed :
       std::vector<std::vector<int>>{{0}, {1}, {0, 1}, {1, 2}, {0, 1, 2}}) {
    EXPECT_EXIT(
        {
          for (const int descriptor : closed) close(descriptor);
          _exit(RunWith({}, [] {
            std::cout << "discarded" << std::endl;
            const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
            return next > STDERR_FILENO && FlushOutput().ok() ? 7 : 1;
          }));
        },
        ExitedWithCode(7), "");
  }
}

TEST(LimitsTest, ThreadsThatCanBeStarted) { EXPECT_OK(CheckThreads(8)); }

TEST(LimitsTest, NamesTheMachinesMemory) { EXPECT_THAT(MemoryLimits(), HasSubstr("this machine")); }

TEST(CheckRangeTest, NamesTheLimit) {
  const struct {
    int64_t value;
    const char* message;  // empty: in range
  } cases[] = {{0, "--x: expected at least 1, got 0"},
               {-5, "--x: expected at least 1, got -5"},
               {1, ""},
               {10, ""},
               {11, "--x: expected at most 10, got 11"}};
  for (const auto& [value, message] : cases) {
    EXPECT_EQ(CheckRange("--x", value, 1, 10).message(), message);
  }
  EXPECT_EQ(CheckRange("--t", absl::InfiniteDuration(), absl::ZeroDuration()).message(),
            "--t: expected at most 8760h, got inf");
  EXPECT_EQ(CheckRange("--t", -absl::Seconds(1), absl::ZeroDuration()).message(),
            "--t: expected at least 0, got -1s");
}

}  // namespace
}  // namespace percentdelta

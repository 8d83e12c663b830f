// SPDX-License-Identifier: Apache-2.0

#include "common/program/program.h"

#include <fcntl.h>
#include <grpc/support/log.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <new>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/descriptors.h"
#include "common/base/library_errors.h"
#include "common/base/limits.h"
#include "common/base/text.h"
#include "common/program/version.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxMessageBytes = 4000;
constexpr int kWriteTimeoutMs = 1000;

// For handlers that may neither allocate nor lock: the program's name, and gRPC's last error.
std::array<char, 64> program_name;
std::array<char, 256> grpc_error;
std::atomic<bool> grpc_error_busy{false};  // being written

// The next file or socket would get the number of a closed standard descriptor, and output would go
// there.
void OpenStandardDescriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    // open() returns the lowest free descriptor, which is this one. Without /dev/null, use one that
    // can be neither read nor written.
    if (open("/dev/null", O_RDWR) < 0)
      open("/", O_PATH);  // NOLINT(cppcoreguidelines-pro-type-vararg)
  }
}

// Discards gRPC's log, which is not for users, but stores its last error for OnAbort, and passes
// errors on.
void HandleGrpcLog(gpr_log_func_args* args) {
  if (args->severity != GPR_LOG_SEVERITY_ERROR) return;
  PassOnLibraryError(args->message);
  if (grpc_error_busy.exchange(true)) return;
  std::snprintf(grpc_error.data(), grpc_error.size(), "%s", args->message);
  grpc_error_busy = false;
}

// For signal handlers: uses no stdio, allocation or locks.
void WriteRaw(const char* text) {
  pollfd file = {STDERR_FILENO, POLLOUT, 0};
  if (poll(&file, 1, kWriteTimeoutMs) <= 0) return;
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

// Libraries abort when they cannot get a thread or memory. That is caused by the machine, and needs
// no core dump; other aborts are our errors.
void OnAbort(int /*signal*/) {
  const bool exhausted = errno == ENOMEM || std::strstr(grpc_error.data(), "thread") != nullptr;
  WriteRaw(program_name.data());
  WriteRaw(exhausted ? ": a library ran out of memory or threads" : ": aborted");
  if (grpc_error[0] != '\0') WriteRaw(": ");
  WriteRaw(grpc_error.data());
  WriteRaw("\n");
  if (exhausted) _exit(kExitFailure);
}

std::string Describe(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return absl::StrCat("out of memory; limits: ", MemoryLimits());
  }
  const auto* const system = dynamic_cast<const std::system_error*>(&error);
  if (system != nullptr && system->code() == std::errc::resource_unavailable_try_again) {
    return absl::StrCat("cannot start a thread: ", system->what(), "; limits: ", ThreadLimits());
  }
  if (dynamic_cast<const std::length_error*>(&error) != nullptr) {
    return absl::StrCat("something is too large for memory: ", error.what(),
                        "; limits: ", MemoryLimits());
  }
  return absl::StrCat("unexpected: ", error.what());
}

// Prints one line about the exception that is being handled. Never throws.
void PrintException() noexcept {
  try {
    try {
      throw;
    } catch (const std::exception& error) {
      PrintError(program_name.data(), Describe(error));
    }
  } catch (const std::bad_alloc&) {  // while describing
    WriteRaw(program_name.data());
    WriteRaw(": out of memory, even for naming the limit (ulimit -v, or the container's)\n");
  } catch (...) {
    WriteRaw(program_name.data());
    WriteRaw(": unexpected exception of an unknown type\n");
  }
}

[[noreturn]] void OnTerminate() {
  if (std::current_exception() == nullptr) std::abort();
  PrintException();
  _exit(kExitFailure);
}

void PrepareProcess(const char* name) {
  std::snprintf(program_name.data(), program_name.size(), "%s", name);
  OpenStandardDescriptors();
  RaiseDescriptorLimit();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  std::set_terminate(OnTerminate);
  struct sigaction action = {};
  action.sa_handler = OnAbort;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGABRT, &action, nullptr);
}

}  // namespace

int RunProgram(int argc, char** argv, const Program& program) {
  PrepareProcess(program.name);
  try {
    const std::vector<std::string> words =
        ParseCommandLine(argc, argv, program.usage, VersionText(program.name));
    gpr_set_log_function(HandleGrpcLog);
    if (!program.takes_words && !words.empty()) {
      PrintError(program.name, absl::StrCat("unexpected argument ", words[0], " (see --help)"));
      return kExitUsage;
    }
    return program.run(words);
  } catch (...) {
    PrintException();
  }
  // Skip destructors: objects may be half built, and threads still run.
  _exit(kExitFailure);
}

void PrintError(absl::string_view name, absl::string_view message) {
  const std::string line = absl::StrCat(name, ": ", EscapeForLog(message, kMaxMessageBytes), "\n");
  std::cout.flush();
  WriteRaw(line.c_str());
}

int Fail(absl::string_view name, const absl::Status& status, int code) {
  PrintError(name, status.message());
  return code;
}

bool ReaderIsGone(int descriptor) {
  pollfd file = {descriptor, 0, 0};
  return poll(&file, 1, 0) > 0 && (file.revents & (POLLERR | POLLHUP)) != 0;
}

absl::Status FlushOutput() {
  if (std::cout.flush() || ReaderIsGone(STDOUT_FILENO)) return absl::OkStatus();
  return absl::UnavailableError("cannot write to standard output");
}

}  // namespace percentdelta

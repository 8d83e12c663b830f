// SPDX-License-Identifier: Apache-2.0

#include "common/job/job_text.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/descriptors.h"
#include "common/base/errno_status.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kPiece = 64 << 10;
constexpr size_t kMaxPathBytes = 4096;

// Waits until a pipe has data or has ended.
absl::Status AwaitData(const UniqueDescriptor& file, absl::Duration silence) {
  struct pollfd ready = {file.get(), POLLIN, 0};
  const int count = poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(silence)));
  if (count > 0 || (count < 0 && errno == EINTR)) return absl::OkStatus();
  if (count < 0) return ErrnoStatus(errno, "poll");
  return absl::DeadlineExceededError(
      absl::StrCat("a pipe to which nothing was written for ", absl::FormatDuration(silence)));
}

absl::StatusOr<std::string> ReadAll(const UniqueDescriptor& file, bool pipe,
                                    absl::Duration silence) {
  std::string bytes;
  while (true) {
    if (pipe) {
      RETURN_IF_ERROR(AwaitData(file, silence));
    }
    const size_t have = bytes.size();
    bytes.resize(have + kPiece);
    const ssize_t got = ReadSome(file, bytes.data() + have, kPiece);
    const int error = errno;
    bytes.resize(have + std::max<ssize_t>(got, 0));
    if (got == 0) return bytes;
    if (got < 0 && error != EAGAIN) return ErrnoStatus(error, "read");
    if (bytes.size() > kMaxJobFileBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected at most ", kMaxJobFileBytes, " bytes, got more"));
    }
  }
}

absl::Status At(absl::string_view before, absl::string_view reason) {
  const auto line = std::count(before.begin(), before.end(), '\n');
  const size_t begin = before.rfind('\n') + 1;  // 0 if there is none
  return absl::InvalidArgumentError(
      absl::StrCat(":", line + 1, ":", before.size() - begin + 1, ": ", reason));
}

}  // namespace

absl::StatusOr<std::string> ReadJobFile(const std::string& path, absl::Duration silence) {
  const std::string what =
      absl::StrCat("cannot read the job file ", EscapeForLog(path, kMaxPathBytes));
  const UniqueDescriptor file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file.ok()) return ErrnoStatus(errno, what);
  struct stat about {};
  if (fstat(file.get(), &about) != 0) return ErrnoStatus(errno, what);
  if (S_ISDIR(about.st_mode)) return ErrnoStatus(EISDIR, what);
  const bool pipe = S_ISFIFO(about.st_mode);
  if (!pipe && !S_ISREG(about.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": expected a file, got a device"));
  }
  absl::StatusOr<std::string> bytes = ReadAll(file, pipe, silence);
  if (bytes.ok()) return bytes;
  return absl::Status(bytes.status().code(), absl::StrCat(what, ": ", bytes.status().message()));
}

absl::StatusOr<std::string> PlainJobText(absl::string_view text) {
  const auto begins = [&](absl::string_view mark) { return absl::StartsWith(text, mark); };
  if (begins("\xff\xfe") || begins("\xfe\xff") || begins(absl::string_view("\0\0\xfe\xff", 4))) {
    return At("", "expected UTF-8, got UTF-16 or UTF-32: save the file as UTF-8");
  }
  if (begins("\xef\xbb\xbf")) text.remove_prefix(3);
  if (const size_t nul = text.find('\0'); nul != absl::string_view::npos) {
    return At(text.substr(0, nul),
              "expected UTF-8 text, got a NUL: is it UTF-16, or a binary file?");
  }
  if (text.find_first_not_of(" \t\r\n\v\f") == absl::string_view::npos) {
    return absl::InvalidArgumentError(": expected a job, got an empty text");
  }
  std::string plain(text);
  if (!absl::StrContains(plain, '\n')) std::replace(plain.begin(), plain.end(), '\r', '\n');
  return plain;
}

}  // namespace percentdelta

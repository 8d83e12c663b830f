// SPDX-License-Identifier: Apache-2.0

#include "common/base/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errno_status.h"
#include "common/base/output_path.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr size_t kPiece = size_t{1} << 18;  // bytes that are read or written at a time
constexpr mode_t kPermissions = 0666;       // before the umask

// Whether an fsync failed because the file system does not support it.
bool MeansUnsupported(int error) {
  return error == EINVAL || error == ENOSYS || error == ENOTSUP || error == EOPNOTSUPP ||
         error == EBADF;
}

}  // namespace

DurableFile::DurableFile(std::string path, Options options)
    : options_(std::move(options)), path_(std::move(path)) {}

DurableFile::~DurableFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::Status DurableFile::Failed(absl::string_view action) const {
  return ErrnoStatus(errno, action, path_);
}

absl::Status DurableFile::Open() {
  ASSIGN_OR_RETURN(path_, ResolveOutputPath(path_, options_.follow_links));
  // A name that no other writer of the same path uses, nor one that died has left behind.
  int number = 0;
  std::string name;
  do {
    name = absl::StrCat(path_, kTemporaryMark, getpid(), "-", number++);
    file_ =
        UniqueDescriptor(open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kPermissions));
  } while (!file_.ok() && errno == EEXIST);
  if (!file_.ok()) return Failed("write");
  temporary_ = name;
  return absl::OkStatus();
}

absl::Status DurableFile::Write(absl::string_view bytes) {
  options_.faults.Pass("write");
  while (!bytes.empty()) {
    const absl::string_view piece = bytes.substr(0, kPiece);
    const ssize_t written = write(file_.get(), piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write");
    hash_.Update(piece.substr(0, written));  // while it is in the cache
    bytes_ += written;
    bytes.remove_prefix(written);
    if (options_.after_piece) options_.after_piece(bytes_);
  }
  return absl::OkStatus();
}

absl::Status DurableFile::Commit() {
  options_.faults.Pass("sync");
  if (fsync(file_.get()) != 0) return Failed("write");
  if (const int error = file_.Close(); error != 0) return ErrnoStatus(error, "write", path_);
  options_.faults.Pass("rename");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Failed("replace");
  temporary_.clear();
  // A bare name has an empty parent path: make it absolute first.
  return SyncDirectory(std::filesystem::absolute(path_).parent_path().string());
}

absl::Status WriteDurably(const std::string& path, absl::string_view bytes,
                          const DurableFile::Options& options) {
  DurableFile file(path, options);
  RETURN_IF_ERROR(file.Open());
  RETURN_IF_ERROR(file.Write(bytes));
  return file.Commit();
}

absl::Status SyncDirectory(const std::string& path, bool* supported) {
  if (supported != nullptr) *supported = true;
  const UniqueDescriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.ok() && fsync(directory.get()) == 0) return absl::OkStatus();
  // A directory that may be written to need not be readable, as opening it requires.
  const bool unsupported = directory.ok() ? MeansUnsupported(errno) : errno == EACCES;
  if (!unsupported) return ErrnoStatus(errno, "sync", path);
  if (supported != nullptr) *supported = false;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t max_bytes) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const UniqueDescriptor file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file.ok()) return ErrnoStatus(errno, "open", path);
  struct stat about {};
  if (fstat(file.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    return absl::DataLossError(absl::StrCat(path, " is not a regular file"));
  }
  if (about.st_size > max_bytes) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected at most ", max_bytes, " bytes, got ", about.st_size));
  }
  std::string bytes(about.st_size, '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ReadSome(file, bytes.data() + have, bytes.size() - have);
    if (got < 0) return ErrnoStatus(errno, "read", path);
    if (got == 0) break;
    have += got;
  }
  bytes.resize(have);
  return bytes;
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  const UniqueDescriptor file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file.ok()) return ErrnoStatus(errno, "open", path);
  std::string piece(kPiece, '\0');
  Sha256 hash;
  ssize_t got = 0;
  while ((got = ReadSome(file, piece.data(), piece.size())) > 0) {
    hash.Update(absl::string_view(piece).substr(0, got));
  }
  if (got < 0) return ErrnoStatus(errno, "read", path);
  return hash.Hex();
}

}  // namespace percentdelta

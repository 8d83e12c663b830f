#include "common/base/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/output_path.h"

namespace percentdelta {
namespace {

constexpr size_t kPiece = size_t{1} << 18;  // bytes that are read or written at a time

absl::Status SystemError(absl::string_view what, const std::string& path) {
  const int error = errno;
  return absl::ErrnoToStatus(error, absl::StrCat("cannot ", what, " ", path));
}

// Whether the error of an fsync says that there is none, rather than that it has failed.
bool MeansUnsupported(int error) {
  return error == EINVAL || error == ENOSYS || error == ENOTSUP || error == EOPNOTSUPP ||
         error == EBADF;
}

}  // namespace

DurableFile::DurableFile(std::string path, Options options)
    : options_(std::move(options)), path_(std::move(path)) {}

DurableFile::~DurableFile() {
  if (file_ >= 0) close(file_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::Status DurableFile::Failed(absl::string_view what) const { return SystemError(what, path_); }

absl::Status DurableFile::Open() {
  const absl::StatusOr<std::string> resolved = ResolveOutputPath(path_, options_.follow_links);
  if (!resolved.ok()) return resolved.status();
  path_ = *resolved;
  // A name that nobody else uses: neither another writer of the same path nor one that died.
  int number = 0;
  std::string name;
  do {
    name = absl::StrCat(path_, kTemporaryMark, getpid(), "-", number++);
    file_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (file_ < 0 && errno == EEXIST);
  if (file_ < 0) return Failed("write");
  temporary_ = name;
  return absl::OkStatus();
}

absl::Status DurableFile::Write(absl::string_view bytes) {
  options_.faults.Pass("write");
  while (!bytes.empty()) {
    const absl::string_view piece = bytes.substr(0, kPiece);
    const ssize_t written = write(file_, piece.data(), piece.size());
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
  if (fsync(file_) != 0) return Failed("write");
  // Some network file systems report a full disk only here.
  const int closed = close(file_);
  file_ = -1;
  if (closed != 0 && errno != EINTR) return Failed("write");
  options_.faults.Pass("rename");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Failed("replace");
  temporary_.clear();
  // Of an absolute path: that of a bare name would be empty.
  return SyncDirectory(std::filesystem::absolute(path_).parent_path().string());
}

absl::Status WriteDurably(const std::string& path, absl::string_view bytes,
                          const DurableFile::Options& options) {
  DurableFile file(path, options);
  absl::Status status = file.Open();
  if (status.ok()) status = file.Write(bytes);
  if (status.ok()) status = file.Commit();
  return status;
}

absl::Status SyncDirectory(const std::string& path, bool* supported) {
  if (supported != nullptr) *supported = true;
  const int directory = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Without the right to list it one may write into it all the same.
  bool unsupported = directory < 0 && errno == EACCES;
  absl::Status status;
  if (directory < 0) {
    if (!unsupported) return SystemError("sync", path);
  } else {
    if (fsync(directory) != 0) {
      unsupported = MeansUnsupported(errno);
      if (!unsupported) status = SystemError("sync", path);
    }
    close(directory);
  }
  if (supported != nullptr) *supported = !unsupported;
  return status;
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t most) {
  // Without waiting for a writer, should it be a pipe.
  const int file = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return SystemError("open", path);
  struct stat about {};
  absl::Status status;
  std::string bytes;
  if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
    status = absl::DataLossError(absl::StrCat(path, " is no regular file"));
  } else if (about.st_size > most) {
    status = absl::DataLossError(
        absl::StrCat(path, ": expected at most ", most, " bytes, got ", about.st_size));
  } else {
    bytes.resize(about.st_size);
    size_t have = 0;
    while (have < bytes.size()) {
      const ssize_t got = read(file, bytes.data() + have, bytes.size() - have);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) status = SystemError("read", path);
      if (got <= 0) break;
      have += got;
    }
    bytes.resize(have);
  }
  close(file);
  if (!status.ok()) return status;
  return bytes;
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return SystemError("open", path);
  std::string piece(kPiece, '\0');
  Sha256 hash;
  ssize_t got = 0;
  do {
    got = read(file, piece.data(), piece.size());
    if (got > 0) hash.Update(absl::string_view(piece).substr(0, got));
  } while (got > 0 || (got < 0 && errno == EINTR));
  const absl::Status status = got < 0 ? SystemError("read", path) : absl::OkStatus();
  close(file);
  if (!status.ok()) return status;
  return hash.Hex();
}

}  // namespace percentdelta

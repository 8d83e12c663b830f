// Files that are there whole or not at all, whatever crashes: written under a temporary name,
// synced, renamed, and the directory synced. Where the file system cannot sync a directory
// (SyncDirectory), that last part is left to it.

#ifndef PERCENTDELTA_COMMON_BASE_DURABLE_FILE_H_
#define PERCENTDELTA_COMMON_BASE_DURABLE_FILE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/fault_point.h"
#include "common/base/sha256.h"

namespace percentdelta {

// What a temporary name has behind the file's own: ".tmp-PID-NUMBER".
inline constexpr char kTemporaryMark[] = ".tmp-";

// A file in the making. Not thread-safe. The destructor removes what was not committed.
class DurableFile {
 public:
  struct Options {
    FaultPoints faults;  // "write", "sync" and "rename" are passed before each of these

    // Called after each piece of at most 256 KiB with the bytes written so far, if not null. May
    // wait, so that others get on with theirs.
    std::function<void(int64_t bytes)> after_piece = nullptr;

    // Whether a symbolic link at the path is followed. If not, Open() refuses it.
    bool follow_links = true;
  };

  // Will be `path`, or what that leads to if it is a symbolic link that may be followed.
  DurableFile(std::string path, Options options);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  // Creates the temporary file. kInvalidArgument: `path` is a directory, a device or a link that is
  // not to be followed; others: the system's reason, with the path, here and below.
  absl::Status Open();
  absl::Status Write(absl::string_view bytes);

  // Makes it `path`, replacing what was there. To be called once, last.
  absl::Status Commit();

  // Of what has been written.
  int64_t bytes() const { return bytes_; }
  std::string sha256() { return hash_.Hex(); }  // to be called once, last

 private:
  absl::Status Failed(absl::string_view what) const;

  const Options options_;
  std::string path_;
  std::string temporary_;  // empty: none is there
  int file_ = -1;
  int64_t bytes_ = 0;
  Sha256 hash_;
};

// All of a file at once.
absl::Status WriteDurably(const std::string& path, absl::string_view bytes,
                          const DurableFile::Options& options = {});

// Syncs a directory: what was created, renamed or removed in it is then on disk. Some file systems
// (shared folders of virtual machines, CIFS, FUSE) cannot: that is no error, and sets `*supported`,
// if given, to false.
absl::Status SyncDirectory(const std::string& path, bool* supported = nullptr);

// The whole of a regular file. kNotFound: there is none; kDataLoss: longer than `most` bytes, or no
// regular file; others: the system's reason, with the path.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t most);

// SHA-256, hexadecimal, of a file's contents, which need not fit into memory. Errors: the system's
// reason, with the path.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_DURABLE_FILE_H_

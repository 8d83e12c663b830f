// SPDX-License-Identifier: Apache-2.0

// Files that exist completely or not at all, whatever crashes: written under a temporary name,
// synced, renamed, and the directory synced, where the file system supports that (SyncDirectory).

#ifndef PERCENTDELTA_COMMON_BASE_DURABLE_FILE_H_
#define PERCENTDELTA_COMMON_BASE_DURABLE_FILE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/descriptors.h"
#include "common/base/fault_point.h"
#include "common/base/sha256.h"

namespace percentdelta {

// Follows the file's own name in a temporary name: ".tmp-PID-NUMBER".
inline constexpr char kTemporaryMark[] = ".tmp-";

// A file that is being written. Not thread-safe. The destructor removes it unless it was committed.
class DurableFile {
 public:
  struct Options {
    FaultPoints faults;  // passes "write", "sync" and "rename" before each of these

    // Called after each piece of at most 256 KiB with the bytes written so far, if not null. May
    // wait, to leave the disk to others.
    std::function<void(int64_t bytes)> after_piece = nullptr;

    // Whether a symbolic link at the path is followed. If not, Open() refuses it.
    bool follow_links = true;
  };

  // Writes to `path`, or to its target if it is a symbolic link that is followed.
  DurableFile(std::string path, Options options);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  // Creates the temporary file. kInvalidArgument: `path` is a directory, a device or a link that is
  // not followed; others: the system's error, with the path, here and below.
  absl::Status Open();
  absl::Status Write(absl::string_view bytes);

  // Renames the file to `path`, replacing what was there. Called once, last.
  absl::Status Commit();

  // Size and hexadecimal SHA-256 of what has been written. sha256() is called once, last.
  int64_t bytes() const { return bytes_; }
  std::string sha256() { return hash_.Hex(); }

 private:
  absl::Status Failed(absl::string_view action) const;

  const Options options_;
  std::string path_;
  std::string temporary_;  // empty: does not exist
  UniqueDescriptor file_;
  int64_t bytes_ = 0;
  Sha256 hash_;
};

// Writes and commits a whole file.
absl::Status WriteDurably(const std::string& path, absl::string_view bytes,
                          const DurableFile::Options& options = {});

// Syncs a directory: entries that were created, renamed or removed are then on disk. Some file
// systems (shared folders of virtual machines, CIFS, FUSE) do not support it: this is not an error,
// and sets `*supported`, if given, to false.
absl::Status SyncDirectory(const std::string& path, bool* supported = nullptr);

// Reads a regular file. kNotFound: it does not exist; kDataLoss: it is longer than `max_bytes`, or
// not a regular file; others: the system's error, with the path.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t max_bytes);

// SHA-256, hexadecimal, of a file's contents, which need not fit into memory. Errors: the system's,
// with the path.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_DURABLE_FILE_H_

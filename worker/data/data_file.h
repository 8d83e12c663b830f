// SPDX-License-Identifier: Apache-2.0

// One file of a data set, as a stream of bytes: the content, decompressed if it is a gzip file.

#ifndef PERCENTDELTA_WORKER_DATA_DATA_FILE_H_
#define PERCENTDELTA_WORKER_DATA_DATA_FILE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/descriptors.h"

struct z_stream_s;

namespace percentdelta {

// The status of a system error at a path: `"path": strerror`. kNotFound for ENOENT,
// kPermissionDenied for EACCES and EPERM, otherwise kFailedPrecondition.
absl::Status ErrnoStatus(const std::string& path, int error);

// "a directory", "a FIFO" and so on, from st_mode.
absl::string_view FileTypeName(uint32_t mode);

// Recognises, by the first bytes of a file, formats that are often found where a data file is
// expected. Returns the format with the command that undoes it, "an xz file, which is not read:
// decompress it with xz -d", or "" for none of them.
std::string ForeignFormat(absl::Span<const uint8_t> begin);

// Reads compressed files as Python's gzip module does: any number of members, which may be empty,
// with zero bytes between and after them and nothing else before, between or after them. Verifies
// every member's checksum and length. The first two bytes decide whether a file is compressed, not
// its name. Not thread-safe.
class DataFile {
 public:
  // Opens a regular file. Refuses a FIFO, a device, a socket, a directory and an empty file with
  // kInvalidArgument, without blocking. System errors: ErrnoStatus. Calls `cancelled`, unless
  // empty, before each piece that is read.
  static absl::StatusOr<std::unique_ptr<DataFile>> Open(const std::string& path,
                                                        std::function<bool()> cancelled);
  ~DataFile();

  // Reads the next bytes of the content into `to`. Returns their number, which is smaller than `to`
  // only at the end of the content: in a gzip file, after the last member's checksum has been
  // verified and only zero bytes follow.
  //   kInvalidArgument  a gzip file that is damaged, cut short, or followed by other bytes
  //   kCancelled        `cancelled` returned true
  absl::StatusOr<size_t> Read(absl::Span<uint8_t> to);

  bool compressed() const { return stream_ != nullptr; }
  uint64_t size() const { return size_; }                        // of the file, in bytes
  uint64_t position() const { return read_ - (end_ - begin_); }  // in the file

 private:
  DataFile(std::string path, UniqueDescriptor descriptor, uint64_t size,
           std::function<bool()> cancelled);

  // Reads into the buffer if it is empty. Returns false at the end of the file.
  absl::StatusOr<bool> Fill();
  absl::StatusOr<size_t> Inflate(absl::Span<uint8_t> to);

  // Skips zero bytes up to the next member. Returns false if there is none.
  absl::StatusOr<bool> NextMember();
  absl::Status Damaged(absl::string_view what) const;
  absl::Status TrailingBytes() const;

  const std::string path_;
  const UniqueDescriptor descriptor_;
  const uint64_t size_;
  const std::function<bool()> cancelled_;

  std::vector<uint8_t> buffer_;  // begin_ ... end_ - 1 is unread
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t read_ = 0;  // from the file, so far

  std::unique_ptr<z_stream_s> stream_;  // null: a plain file
  bool in_member_ = false;
  int64_t members_ = 0;     // completed
  uint64_t content_ = 0;    // decompressed bytes so far
  uint64_t member_at_ = 0;  // position of the current member
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATA_FILE_H_

// One file of a data set, as a stream of bytes: plain, or decompressed if it is a gzip file.

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

// What the system says of a path: `"path": strerror`. kNotFound for ENOENT, kPermissionDenied for
// EACCES and EPERM, else kFailedPrecondition.
absl::Status ErrnoStatus(const std::string& path, int error);

// "a directory", "a FIFO" and so on, from st_mode.
absl::string_view FileTypeName(uint32_t mode);

// The format that these first bytes are the mark of, with the command that undoes it, if it is one
// that is often met where a data file is expected: "xz, which is not read: decompress it with
// xz -d". Empty: none of them.
std::string ForeignFormat(absl::Span<const uint8_t> begin);

// Reads compressed files as Python's gzip module does: any number of members, empty ones among
// them, zero bytes between and after them, every member's checksum and length verified, nothing
// else before, between or after them. The first two bytes tell whether a file is compressed, not
// its name. Not thread-safe.
class DataFile {
 public:
  // Opens a regular file. Never blocks on anything else: a FIFO, a device, a socket, a directory
  // and an empty file are refused (kInvalidArgument). Errors of the system: ErrnoStatus.
  // `cancelled` is called before each piece that is read; empty: never cancelled.
  static absl::StatusOr<std::unique_ptr<DataFile>> Open(const std::string& path,
                                                        std::function<bool()> cancelled);
  ~DataFile();

  // Fills `to` with what follows of the content. Returns fewer bytes only at the end of the
  // content, which for a gzip file is where the last member's checksum has been verified and
  // nothing but zero bytes follows.
  //   kInvalidArgument  a gzip file that is damaged, cut short, or followed by other bytes
  //   kCancelled        `cancelled` returned true
  absl::StatusOr<size_t> Read(absl::Span<uint8_t> to);

  bool compressed() const { return stream_ != nullptr; }
  uint64_t size() const { return size_; }                        // of the file, in bytes
  uint64_t position() const { return read_ - (end_ - begin_); }  // in the file

 private:
  DataFile(std::string path, UniqueDescriptor descriptor, uint64_t size,
           std::function<bool()> cancelled);

  // Whether there are bytes in the buffer; reads some if there are none. False at the file's end.
  absl::StatusOr<bool> Fill();
  absl::StatusOr<size_t> Inflate(absl::Span<uint8_t> to);

  // Steps over zero bytes to the next member; false if there is none.
  absl::StatusOr<bool> NextMember();
  absl::Status Damaged(absl::string_view what) const;
  absl::Status TrailingBytes() const;

  const std::string path_;
  const UniqueDescriptor descriptor_;
  const uint64_t size_;
  const std::function<bool()> cancelled_;

  std::vector<uint8_t> buffer_;  // of which begin_ ... end_ - 1 is to be read
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t read_ = 0;  // from the file, so far

  std::unique_ptr<z_stream_s> stream_;  // null: a plain file
  bool in_member_ = false;
  int64_t members_ = 0;     // that have ended
  uint64_t content_ = 0;    // decompressed bytes so far
  uint64_t member_at_ = 0;  // position of the member in hand
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATA_FILE_H_

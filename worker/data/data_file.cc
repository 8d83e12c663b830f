// SPDX-License-Identifier: Apache-2.0

#include "worker/data/data_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errno_status.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr size_t kChunk = 1 << 18;

// The most that headers and empty members of a gzip file may take before the first byte of content.
constexpr uint64_t kMaxPreamble = 1 << 26;

absl::Status Invalid(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", path, "\": ", what));
}

bool IsGzip(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

absl::Status CheckRegular(const std::string& path, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) {
    return Invalid(path,
                   absl::StrCat("is ", FileTypeName(status.st_mode), ", expected a regular file"));
  }
  if (status.st_size == 0) return Invalid(path, "the file is empty");
  return absl::OkStatus();
}

}  // namespace

absl::Status ErrnoStatus(const std::string& path, int error) {
  const std::string message = absl::StrCat("\"", path, "\": ", ErrnoMessage(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    default:
      return absl::FailedPreconditionError(message);
  }
}

absl::string_view FileTypeName(uint32_t mode) {
  if (S_ISREG(mode)) return "a regular file";
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  return "a special file";
}

std::string ForeignFormat(absl::Span<const uint8_t> begin) {
  constexpr absl::string_view kDecompress = ", which is not read: decompress it with ";
  static const struct {
    absl::string_view mark;
    absl::string_view format;
    absl::string_view command;  // empty: `format` says everything
  } kFormats[] = {
      {"\x1f\x8b", "a gzip file", "gzip -d"},
      {"\x1f\x9d", "a file of compress (.Z)", "gzip -d"},
      {"\xfd"
       "7zXZ",
       "an xz file", "xz -d"},
      {"BZh", "a bzip2 file", "bzip2 -d"},
      {"\x28\xb5\x2f\xfd", "a zstd file", "zstd -d"},
      {"PK\x03\x04", "a zip archive", "unzip"},
      {"7z\xbc\xaf", "a 7z archive", "7z x"},
      {"Rar!", "a rar archive", "unrar x"},
      {"LZIP", "an lzip file", "lzip -d"},
      {"\x89HDF", "an HDF5 file, not an IDX file", ""},
      {"\x93NUM", "a NumPy file, not an IDX file", ""},
      {"\x89PNG", "a PNG image, not an IDX file", ""},
      {"<!DO", "an HTML page, not an IDX file: the download failed", ""},
      {"<htm", "an HTML page, not an IDX file: the download failed", ""},
      {"<?xm", "an XML document, not an IDX file: the download failed", ""},
      {"vers", "text, perhaps a Git LFS pointer (git lfs pull fetches the file)", ""},
  };
  const absl::string_view bytes(reinterpret_cast<const char*>(begin.data()), begin.size());
  for (const auto& [mark, format, command] : kFormats) {
    if (bytes.substr(0, mark.size()) != mark) continue;
    return command.empty() ? std::string(format) : absl::StrCat(format, kDecompress, command);
  }
  return "";
}

DataFile::DataFile(std::string path, UniqueDescriptor descriptor, uint64_t size,
                   std::function<bool()> cancelled)
    : path_(std::move(path)),
      descriptor_(std::move(descriptor)),
      size_(size),
      cancelled_(std::move(cancelled)),
      buffer_(kChunk) {}

DataFile::~DataFile() {
  if (stream_ != nullptr) inflateEnd(stream_.get());
}

absl::StatusOr<std::unique_ptr<DataFile>> DataFile::Open(const std::string& path,
                                                         std::function<bool()> cancelled) {
  struct stat status {};
  // Check before opening: opening a device may have side effects.
  if (stat(path.c_str(), &status) != 0) return ErrnoStatus(path, errno);
  RETURN_IF_ERROR(CheckRegular(path, status));
  UniqueDescriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!descriptor.ok() || fstat(descriptor.get(), &status) != 0) return ErrnoStatus(path, errno);
  RETURN_IF_ERROR(CheckRegular(path, status));
  std::unique_ptr<DataFile> file(
      new DataFile(path, std::move(descriptor), status.st_size, std::move(cancelled)));
  RETURN_IF_ERROR(file->Fill().status());
  if (IsGzip(absl::MakeConstSpan(file->buffer_).first(file->end_))) {
    auto stream = std::make_unique<z_stream>();
    if (inflateInit2(stream.get(), 15 + 16) != Z_OK) {  // the largest window; gzip's format
      return absl::ResourceExhaustedError(
          absl::StrCat("\"", path, "\": not enough memory to decompress it"));
    }
    file->stream_ = std::move(stream);
    file->in_member_ = true;
  }
  return file;
}

absl::StatusOr<bool> DataFile::Fill() {
  if (begin_ < end_) return true;
  if (cancelled_ && cancelled_()) {
    return absl::CancelledError(absl::StrCat("\"", path_, "\": reading was cancelled"));
  }
  const ssize_t got = ReadSome(descriptor_, buffer_.data(), buffer_.size());
  if (got < 0) return ErrnoStatus(path_, errno);
  begin_ = 0;
  end_ = static_cast<size_t>(got);
  read_ += end_;
  return got > 0;
}

absl::StatusOr<size_t> DataFile::Read(absl::Span<uint8_t> to) {
  if (compressed()) return Inflate(to);
  size_t done = 0;
  while (done < to.size()) {
    ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) break;
    const size_t count = std::min(to.size() - done, end_ - begin_);
    std::copy_n(buffer_.data() + begin_, count, to.data() + done);
    begin_ += count;
    done += count;
  }
  return done;
}

absl::Status DataFile::Damaged(absl::string_view what) const {
  return Invalid(path_,
                 absl::StrCat("damaged gzip file, after ", content_, " bytes of content: ", what));
}

absl::Status DataFile::TrailingBytes() const {
  return Invalid(path_,
                 absl::StrCat(size_ - member_at_,
                              " trailing bytes after the end of the gzip data at byte ", member_at_,
                              ": expected another gzip member, zero bytes or "
                              "nothing"));
}

absl::StatusOr<bool> DataFile::NextMember() {
  while (true) {
    ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) return false;
    while (begin_ < end_ && buffer_[begin_] == 0) ++begin_;
    if (begin_ < end_) break;
  }
  member_at_ = position();
  if (buffer_[begin_] != 0x1f) return TrailingBytes();
  inflateReset(stream_.get());
  in_member_ = true;
  return true;
}

absl::StatusOr<size_t> DataFile::Inflate(absl::Span<uint8_t> to) {
  z_stream& stream = *stream_;
  size_t done = 0;
  while (done < to.size()) {
    if (!in_member_) {
      ASSIGN_OR_RETURN(const bool next, NextMember());
      if (!next) break;
    }
    ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) {
      return Invalid(path_, absl::StrCat("truncated gzip file: it ends after ", content_,
                                         " bytes of content"));
    }
    stream.next_in = buffer_.data() + begin_;
    stream.avail_in = static_cast<uInt>(end_ - begin_);
    stream.next_out = to.data() + done;
    const size_t room = std::min(to.size() - done, size_t{1} << 30);
    stream.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream, Z_NO_FLUSH);
    begin_ = end_ - stream.avail_in;
    done += room - stream.avail_out;
    content_ += room - stream.avail_out;
    if (result == Z_STREAM_END) {
      in_member_ = false;
      ++members_;
    } else if (result == Z_MEM_ERROR) {
      return absl::ResourceExhaustedError(
          absl::StrCat("\"", path_, "\": not enough memory to decompress it"));
    } else if (result == Z_DATA_ERROR && members_ > 0 && stream.total_out == 0 &&
               position() < member_at_ + 3) {
      return TrailingBytes();
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return Damaged(stream.msg == nullptr ? "zlib gives no reason" : stream.msg);
    }
    if (content_ == 0 && position() > kMaxPreamble) {
      return Damaged(absl::StrCat("expected content within the first ", kMaxPreamble, " bytes"));
    }
  }
  return done;
}

}  // namespace percentdelta

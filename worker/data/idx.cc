#include "worker/data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "worker/data/dataset.h"

namespace percentdelta {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr int32_t kClasses = 10;
constexpr uint8_t kUnsignedBytes = 0x08;
constexpr uint64_t kMaxBytes = uint64_t{1} << 32;  // of a file's content: far above any data set
constexpr uint32_t kMaxSide = 1 << 15;             // of an image, in pixels
constexpr size_t kChunk = 1 << 16;

constexpr char kAdvice[] =
    "run deploy/quickstart, which fetches MNIST, or give the directory of its files with --data";

absl::Status Invalid(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", path, "\": ", what));
}

absl::StatusOr<Bytes> ReadFile(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat("no file \"", path, "\": ", kAdvice));
  }
  if (std::filesystem::is_directory(status)) return Invalid(path, "is a directory, not a file");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (file == nullptr) {
    return absl::UnavailableError(absl::StrCat("\"", path, "\": ", std::strerror(errno)));
  }
  Bytes bytes;
  size_t got = 0;
  do {
    const size_t size = bytes.size();
    bytes.resize(std::max(2 * size, kChunk));
    got = std::fread(bytes.data() + size, 1, bytes.size() - size, file.get());
    bytes.resize(size + got);
    if (bytes.size() > kMaxBytes) return Invalid(path, "more than 4 GiB");
  } while (got > 0);
  if (std::ferror(file.get()) != 0) {
    return absl::UnavailableError(absl::StrCat("\"", path, "\": read error"));
  }
  return bytes;
}

bool IsGzip(const Bytes& bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

// The first `limit` bytes of what was compressed, or all if there are fewer. Memory grows with what
// comes out. A stream that goes on behind the limit is not looked at any further.
absl::StatusOr<Bytes> Gunzip(const std::string& path, Bytes& compressed, uint64_t limit) {
  z_stream stream = {};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) {  // the largest window; gzip's header and checksum
    return absl::ResourceExhaustedError(absl::StrCat("\"", path, "\": no memory to decompress"));
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  Bytes bytes;
  size_t read = 0;
  int result = Z_OK;
  while (result == Z_OK && bytes.size() < limit) {
    if (stream.avail_in == 0) {
      stream.next_in = compressed.data() + read;
      stream.avail_in = static_cast<uInt>(std::min(compressed.size() - read, kChunk));
      read += stream.avail_in;
    }
    const size_t size = bytes.size();
    bytes.resize(size + std::min<uint64_t>(kChunk, limit - size));
    stream.next_out = bytes.data() + size;
    stream.avail_out = static_cast<uInt>(bytes.size() - size);
    result = inflate(&stream, Z_NO_FLUSH);
    bytes.resize(bytes.size() - stream.avail_out);
  }
  if (result == Z_BUF_ERROR) {
    return Invalid(path, absl::StrCat("truncated gzip file: it ends after ", bytes.size(),
                                      " bytes of content"));
  }
  if (result != Z_OK && result != Z_STREAM_END) {
    return Invalid(path,
                   absl::StrCat("damaged gzip file, after ", bytes.size(), " bytes of content: ",
                                stream.msg == nullptr ? "zlib gives no reason" : stream.msg));
  }
  const size_t trailing = compressed.size() - read + stream.avail_in;
  if (result == Z_STREAM_END && trailing > 0) {
    return Invalid(path, absl::StrCat(trailing, " trailing bytes behind the gzip stream"));
  }
  return bytes;
}

struct Header {
  std::vector<uint32_t> dimensions;
  uint64_t size;     // of the header
  uint64_t entries;  // the product of the dimensions
};

absl::StatusOr<Header> ParseHeader(const std::string& path, const Bytes& bytes, uint8_t dimensions,
                                   absl::string_view kind) {
  Header header = {.dimensions = {}, .size = 4 + uint64_t{4} * dimensions, .entries = 1};
  if (bytes.size() < header.size) {
    return Invalid(path, absl::StrCat("truncated: the header of an IDX file of ", kind, " has ",
                                      header.size, " bytes, the file ", bytes.size()));
  }
  const uint8_t expected[4] = {0, 0, kUnsignedBytes, dimensions};
  if (!std::equal(expected, expected + 4, bytes.begin())) {
    return Invalid(path, absl::StrFormat("not an IDX file of %s (unsigned bytes, %d dimensions): "
                                         "expected it to begin with 0000%02x%02x, got "
                                         "%02x%02x%02x%02x",
                                         kind, dimensions, kUnsignedBytes, dimensions, bytes[0],
                                         bytes[1], bytes[2], bytes[3]));
  }
  for (int d = 0; d < dimensions; ++d) {
    const uint8_t* at = bytes.data() + 4 + ptrdiff_t{4} * d;
    const uint32_t value =
        uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | uint32_t{at[3]};
    header.dimensions.push_back(value);
    const uint32_t most = d == 0 ? UINT32_MAX : kMaxSide;
    if (value == 0 || value > most || header.entries > kMaxBytes / value) {
      return Invalid(path, absl::StrCat("dimension ", d, " is ", value, ": expected at least 1, ",
                                        "images of at most ", kMaxSide,
                                        " pixels a side, and at most 4 GiB in all"));
    }
    header.entries *= value;
  }
  return header;
}

struct IdxFile {
  std::vector<uint32_t> dimensions;
  Bytes entries;
};

absl::StatusOr<IdxFile> ReadIdx(const std::string& path, uint8_t dimensions,
                                absl::string_view kind) {
  absl::StatusOr<Bytes> file = ReadFile(path);
  if (!file.ok()) return file.status();
  const bool gzip = IsGzip(*file);
  absl::StatusOr<Bytes> start = Bytes();
  if (gzip) {
    start = Gunzip(path, *file, 4 + uint64_t{4} * dimensions);
    if (!start.ok()) return start.status();
  }
  absl::StatusOr<Header> header = ParseHeader(path, gzip ? *start : *file, dimensions, kind);
  if (!header.ok()) return header.status();

  const uint64_t expected = header->size + header->entries;
  if (gzip) {  // one byte more than expected, to see whether there is one and to reach the checksum
    file = Gunzip(path, *file, expected + 1);
    if (!file.ok()) return file.status();
  }
  if (file->size() != expected) {
    const bool cut = gzip && file->size() > expected;
    return Invalid(path, absl::StrCat(file->size() < expected ? "truncated" : "trailing bytes",
                                      ": expected ", expected, " bytes, as the dimensions ",
                                      absl::StrJoin(header->dimensions, " x "), " say, got ",
                                      cut ? "at least " : "", file->size()));
  }
  file->erase(file->begin(), file->begin() + static_cast<int64_t>(header->size));
  return IdxFile{std::move(header->dimensions), *std::move(file)};
}

// The first of the names that exists in the directory; kNotFound if none does.
absl::StatusOr<std::string> FindFile(const std::string& directory, absl::string_view stem,
                                     absl::string_view type) {
  std::vector<std::string> names;
  for (const absl::string_view separator : {"-", "."}) {
    for (const absl::string_view suffix : {"", ".gz"}) {
      names.push_back(absl::StrCat(stem, separator, type, suffix));
      const std::string path = (std::filesystem::path(directory) / names.back()).string();
      std::error_code error;
      if (std::filesystem::exists(path, error)) return path;
    }
  }
  return absl::NotFoundError(
      absl::StrCat("none of ", absl::StrJoin(names, ", "), " in \"", directory, "\": ", kAdvice));
}

absl::StatusOr<Dataset> ReadSet(const std::string& directory, absl::string_view set) {
  const absl::StatusOr<std::string> images =
      FindFile(directory, absl::StrCat(set, "-images"), "idx3-ubyte");
  if (!images.ok()) return images.status();
  const absl::StatusOr<std::string> labels =
      FindFile(directory, absl::StrCat(set, "-labels"), "idx1-ubyte");
  if (!labels.ok()) return labels.status();
  return ReadDataset(*images, *labels);
}

}  // namespace

absl::StatusOr<Dataset> ReadDataset(const std::string& images_path,
                                    const std::string& labels_path) {
  absl::StatusOr<IdxFile> images = ReadIdx(images_path, 3, "images");
  if (!images.ok()) return images.status();
  absl::StatusOr<IdxFile> labels = ReadIdx(labels_path, 1, "labels");
  if (!labels.ok()) return labels.status();
  if (images->dimensions[0] != labels->dimensions[0]) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", images_path, "\" has ", images->dimensions[0], " images, \"", labels_path, "\" ",
        labels->dimensions[0], " labels: expected as many of both"));
  }
  for (size_t i = 0; i < labels->entries.size(); ++i) {
    if (labels->entries[i] >= kClasses) {
      return Invalid(labels_path, absl::StrCat("label ", i, " is ", labels->entries[i],
                                               ": expected 0 to ", kClasses - 1));
    }
  }
  return Dataset{.count = images->dimensions[0],
                 .rows = static_cast<int32_t>(images->dimensions[1]),
                 .columns = static_cast<int32_t>(images->dimensions[2]),
                 .pixels = std::move(images->entries),
                 .labels = std::move(labels->entries),
                 .classes = kClasses};
}

absl::StatusOr<Dataset> ReadTrainingSet(const std::string& directory) {
  return ReadSet(directory, "train");
}

absl::StatusOr<Dataset> ReadTestSet(const std::string& directory) {
  return ReadSet(directory, "t10k");
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "worker/data/idx.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "worker/data/data_file.h"
#include "worker/data/dataset.h"

namespace percentdelta {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr int32_t kClasses = 10;
constexpr uint8_t kUnsignedBytes = 0x08;
constexpr uint64_t kMaxBytes = uint64_t{1} << 32;  // of a file's content; data sets are far smaller
constexpr uint32_t kMaxSide = 1 << 15;             // of an image, in pixels

// Deflate expands a byte to at most kMaxRatio bytes, and hardly ever makes content longer; headers
// and padding may add kMaxOverhead.
constexpr uint64_t kMaxRatio = 1032;
constexpr uint64_t kMaxOverhead = 1 << 26;

// First allocation for decompressed content; doubled as content arrives.
constexpr uint64_t kFirstPiece = 1 << 20;

absl::Status Invalid(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", path, "\": ", what));
}

absl::string_view NameOf(IdxKind kind) { return kind == IdxKind::kImages ? "images" : "labels"; }
uint8_t DimensionsOf(IdxKind kind) { return kind == IdxKind::kImages ? 3 : 1; }

struct Header {
  std::vector<uint32_t> dimensions;
  uint64_t size;     // of the header
  uint64_t entries;  // the product of the dimensions
};

// Parses the file's first bytes: those of the header, or fewer if the file ends before.
absl::StatusOr<Header> ParseHeader(const std::string& path, absl::Span<const uint8_t> bytes,
                                   IdxKind kind) {
  const uint8_t dimensions = DimensionsOf(kind);
  Header header = {.dimensions = {}, .size = 4 + uint64_t{4} * dimensions, .entries = 1};
  if (const std::string format = ForeignFormat(bytes); !format.empty()) {
    return Invalid(path, absl::StrCat("not an IDX file of ", NameOf(kind), ": ", format));
  }
  if (bytes.size() < header.size) {
    return Invalid(path, absl::StrCat("truncated: the header of an IDX file of ", NameOf(kind),
                                      " has ", header.size, " bytes, the file ", bytes.size()));
  }
  const uint8_t expected[4] = {0, 0, kUnsignedBytes, dimensions};
  if (!std::equal(expected, expected + 4, bytes.begin())) {
    return Invalid(path, absl::StrFormat("not an IDX file of %s (unsigned bytes, %d dimensions): "
                                         "expected it to begin with 0000%02x%02x, got "
                                         "%02x%02x%02x%02x",
                                         NameOf(kind), dimensions, kUnsignedBytes, dimensions,
                                         bytes[0], bytes[1], bytes[2], bytes[3]));
  }
  for (int d = 0; d < dimensions; ++d) {
    const uint8_t* at = bytes.data() + 4 + ptrdiff_t{4} * d;
    const uint32_t value =
        uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | uint32_t{at[3]};
    header.dimensions.push_back(value);
    const uint32_t max = d == 0 ? UINT32_MAX : kMaxSide;
    if (value == 0 || value > max || header.entries > kMaxBytes / value) {
      return Invalid(path, absl::StrCat("dimension ", d, " is ", value, ": expected at least 1, ",
                                        "images of at most ", kMaxSide,
                                        " pixels a side, and at most 4 GiB in all"));
    }
    header.entries *= value;
  }
  return header;
}

absl::Status WrongSize(const std::string& path, const Header& header, absl::string_view what,
                       absl::string_view got) {
  return Invalid(path, absl::StrCat(what, ": expected ", header.size + header.entries,
                                    " bytes for the dimensions ",
                                    absl::StrJoin(header.dimensions, " x "), ", got ", got));
}

// Checks that the size of the file is plausible for its header.
absl::Status CheckSize(const std::string& path, const DataFile& file, const Header& header) {
  const uint64_t expected = header.size + header.entries;
  if (!file.compressed()) {
    if (file.size() == expected) return absl::OkStatus();
    return WrongSize(path, header, file.size() < expected ? "truncated" : "trailing bytes",
                     absl::StrCat(file.size()));
  }
  if (expected / kMaxRatio > file.size()) {
    return WrongSize(path, header, "truncated",
                     absl::StrCat("a gzip file of ", file.size(), ", which cannot hold that many"));
  }
  if (file.size() > 2 * expected + kMaxOverhead) {
    return WrongSize(path, header, "trailing bytes", absl::StrCat("a gzip file of ", file.size()));
  }
  return absl::OkStatus();
}

// Reads the entries after the header; the file must end with them.
absl::StatusOr<Bytes> ReadEntries(const std::string& path, DataFile& file, const Header& header) {
  Bytes entries;
  while (entries.size() < header.entries) {
    const size_t begin = entries.size();
    const uint64_t piece =
        file.compressed() ? std::max<uint64_t>(kFirstPiece, begin) : header.entries;
    entries.reserve(std::min(header.entries, begin + piece));
    entries.resize(std::min(header.entries, begin + piece));
    ASSIGN_OR_RETURN(const size_t got, file.Read(absl::MakeSpan(entries).subspan(begin)));
    if (got < entries.size() - begin) {
      return WrongSize(path, header, "truncated", absl::StrCat(header.size + begin + got));
    }
  }
  uint8_t more = 0;
  ASSIGN_OR_RETURN(const size_t trailing, file.Read({&more, 1}));
  if (trailing > 0) {
    return WrongSize(path, header, "trailing bytes",
                     absl::StrCat("at least ", header.size + header.entries + 1));
  }
  return entries;
}

absl::StatusOr<IdxFile> ReadOpened(const std::string& path, DataFile& file, IdxKind kind,
                                   const ReadOptions& options) {
  Bytes start(4 + size_t{4} * DimensionsOf(kind));
  ASSIGN_OR_RETURN(const size_t got, file.Read(absl::MakeSpan(start)));
  ASSIGN_OR_RETURN(Header header, ParseHeader(path, absl::MakeSpan(start).first(got), kind));
  if (options.examples > 0 && header.dimensions[0] != options.examples) {
    return Invalid(path, absl::StrCat("expected ", options.examples, " ", NameOf(kind),
                                      " as the job says, got ", header.dimensions[0]));
  }
  RETURN_IF_ERROR(CheckSize(path, file, header));
  ASSIGN_OR_RETURN(Bytes entries, ReadEntries(path, file, header));
  if (options.note) {
    options.note(absl::StrCat("read \"", path, "\": ", NameOf(kind), " of ",
                              absl::StrJoin(header.dimensions, " x "),
                              file.compressed() ? ", gzip" : ""));
  }
  return IdxFile{std::move(header.dimensions), std::move(entries)};
}

}  // namespace

absl::StatusOr<IdxFile> ReadIdx(const std::string& path, IdxKind kind, const ReadOptions& options) {
  try {
    ASSIGN_OR_RETURN(const std::unique_ptr<DataFile> file, DataFile::Open(path, options.cancelled));
    ASSIGN_OR_RETURN(IdxFile idx, ReadOpened(path, *file, kind, options));
    if (kind == IdxKind::kImages) return idx;
    for (size_t i = 0; i < idx.entries.size(); ++i) {
      if (idx.entries[i] < kClasses) continue;
      return Invalid(path, absl::StrCat("label ", i, " is ", idx.entries[i], ": expected 0 to ",
                                        kClasses - 1));
    }
    return idx;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("\"", path, "\": not enough memory for its content"));
  }
}

absl::StatusOr<Dataset> MakeDataset(IdxFile images, absl::string_view images_path, IdxFile labels,
                                    absl::string_view labels_path) {
  if (images.dimensions[0] != labels.dimensions[0]) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", images_path, "\" has ", images.dimensions[0], " images, \"", labels_path,
                     "\" ", labels.dimensions[0], " labels: expected the same number"));
  }
  return Dataset{.count = images.dimensions[0],
                 .rows = static_cast<int32_t>(images.dimensions[1]),
                 .columns = static_cast<int32_t>(images.dimensions[2]),
                 .pixels = std::move(images.entries),
                 .labels = std::move(labels.entries),
                 .classes = kClasses};
}

absl::StatusOr<Dataset> ReadDataset(const std::string& images_path, const std::string& labels_path,
                                    const ReadOptions& options) {
  ASSIGN_OR_RETURN(IdxFile images, ReadIdx(images_path, IdxKind::kImages, options));
  ASSIGN_OR_RETURN(IdxFile labels, ReadIdx(labels_path, IdxKind::kLabels, options));
  return MakeDataset(std::move(images), images_path, std::move(labels), labels_path);
}

}  // namespace percentdelta

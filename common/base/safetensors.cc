// SPDX-License-Identifier: Apache-2.0

#include "common/base/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/descriptors.h"
#include "common/base/durable_file.h"
#include "common/base/errno_status.h"
#include "common/base/float_bytes.h"
#include "common/base/safetensors_header.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

constexpr size_t kAlignment = 8;

using Json = nlohmann::json;

absl::Status Malformed(const std::string& path, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(path, " is not a complete safetensors file: ", what));
}

// Reads exactly `size` bytes. `path` is for the message.
absl::Status ReadExactly(const UniqueDescriptor& file, const std::string& path, char* bytes,
                         uint64_t size) {
  while (size > 0) {
    const ssize_t got = ReadSome(file, bytes, size);
    if (got < 0) return ErrnoStatus(errno, "read", path);
    if (got == 0) return Malformed(path, "it was cut short while it was read");
    bytes += got;
    size -= got;
  }
  return absl::OkStatus();
}

// nullopt: not a regular file.
std::optional<uint64_t> SizeOf(const UniqueDescriptor& file) {
  struct stat status {};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return status.st_size;
}

absl::StatusOr<std::string> MakeHeader(const std::vector<SafetensorsEntry>& entries,
                                       const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kSafetensorsMetadata] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    const std::string where = absl::StrCat("tensor ", entry.name, ": ");
    if (entry.name == kSafetensorsMetadata)
      return absl::InvalidArgumentError(where + "the name is reserved");
    if (header.contains(entry.name)) return absl::InvalidArgumentError(where + "occurs twice");
    if (EntriesOfShape(entry.shape, entry.values.size()) != entry.values.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "its shape [", absl::StrJoin(entry.shape, ", "),
                       "] does not fit its ", entry.values.size(), " values"));
    }
    const uint64_t end = offset + entry.values.size() * sizeof(float);
    header[entry.name] = {
        {"dtype", "F32"}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  while (text.size() % kAlignment != 0) text.push_back(' ');
  return text;
}

// Reads the header; leaves the file at the first value.
absl::StatusOr<std::string> ReadHeader(const UniqueDescriptor& file, const std::string& path,
                                       uint64_t file_bytes) {
  uint64_t length = 0;
  if (file_bytes < sizeof(length)) {
    return Malformed(path, absl::StrCat("it has only ", file_bytes, " bytes"));
  }
  RETURN_IF_ERROR(ReadExactly(file, path, reinterpret_cast<char*>(&length), sizeof(length)));
  if (length > std::min(file_bytes - sizeof(length), kMaxSafetensorsHeaderBytes)) {
    return Malformed(path, absl::StrCat("it has ", file_bytes, " bytes and says that ", length,
                                        " of them are its header"));
  }
  std::string text(length, '\0');
  RETURN_IF_ERROR(ReadExactly(file, path, text.data(), length));
  return text;
}

// Returns false if there is not enough memory, as for a huge sparse file.
bool Resize(std::vector<float>& values, uint64_t count) {
  try {
    values.resize(count);
  } catch (const std::exception&) {  // bad_alloc or length_error
    return false;
  }
  return true;
}

// An open file whose header has been read; the file is at the first value.
struct Header {
  UniqueDescriptor file;
  uint64_t file_bytes = 0;
  SafetensorsIndex index;
};

absl::StatusOr<Header> OpenHeader(const std::string& path) {
  Header header;
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  header.file = UniqueDescriptor(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!header.file.ok()) return ErrnoStatus(errno, "open", path);
  const std::optional<uint64_t> file_bytes = SizeOf(header.file);
  if (!file_bytes.has_value()) return Malformed(path, "it is not a regular file");
  header.file_bytes = *file_bytes;
  ASSIGN_OR_RETURN(const std::string text, ReadHeader(header.file, path, *file_bytes));
  absl::StatusOr<SafetensorsIndex> index =
      ParseSafetensorsHeader(text, *file_bytes - sizeof(uint64_t) - text.size());
  if (!index.ok()) return Malformed(path, index.status().message());
  for (const SafetensorsPlace& place : index->places) {
    if (place.dtype == "F32") continue;
    return Malformed(path, absl::StrCat("tensor ", QuotedName(place.name),
                                        ": expected dtype F32, got ", QuotedName(place.dtype)));
  }
  header.index = *std::move(index);
  return header;
}

}  // namespace

absl::Status WriteSafetensors(DurableFile& file, const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  ASSIGN_OR_RETURN(const std::string header, MakeHeader(entries, metadata));
  RETURN_IF_ERROR(file.Open());
  const uint64_t length = header.size();  // little-endian, as this machine is (float_bytes.h)
  RETURN_IF_ERROR(file.Write({reinterpret_cast<const char*>(&length), sizeof(length)}));
  RETURN_IF_ERROR(file.Write(header));
  for (const SafetensorsEntry& entry : entries) {
    RETURN_IF_ERROR(file.Write(AsBytes(entry.values)));
  }
  return absl::OkStatus();
}

absl::Status WriteSafetensors(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  DurableFile file(path, {});
  RETURN_IF_ERROR(WriteSafetensors(file, entries, metadata));
  return file.Commit();
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path) {
  ASSIGN_OR_RETURN(Header header, OpenHeader(path));
  return SafetensorsHeader{static_cast<int64_t>(header.file_bytes),
                           std::move(header.index.metadata)};
}

absl::StatusOr<SafetensorsContent> ReadSafetensors(const std::string& path) {
  ASSIGN_OR_RETURN(Header header, OpenHeader(path));
  SafetensorsContent content;
  content.metadata = std::move(header.index.metadata);
  for (SafetensorsPlace& place : header.index.places) {
    SafetensorsTensor tensor;
    const uint64_t bytes = place.end - place.begin;
    if (!Resize(tensor.values, bytes / sizeof(float))) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot read ", path, ": not enough memory for the ", bytes,
                       " bytes of tensor ", QuotedName(place.name)));
    }
    RETURN_IF_ERROR(
        ReadExactly(header.file, path, reinterpret_cast<char*>(tensor.values.data()), bytes));
    tensor.name = std::move(place.name);
    tensor.shape = std::move(place.shape);
    content.tensors.push_back(std::move(tensor));
  }
  return content;
}

}  // namespace percentdelta

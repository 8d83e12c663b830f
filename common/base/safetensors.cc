// SPDX-License-Identifier: Apache-2.0

#include "common/base/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/descriptors.h"
#include "common/base/durable_file.h"
#include "common/base/errno_status.h"
#include "common/base/float_bytes.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

constexpr size_t kAlignment = 8;
constexpr uint64_t kMaxHeaderBytes = uint64_t{16} << 20;
constexpr char kMetadata[] = "__metadata__";

// Sorted keys: the reader looks them up, and a hostile file may have many.
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

// The product. nullopt: a dimension is negative, or the product exceeds `limit`.
std::optional<uint64_t> EntriesOf(const std::vector<int64_t>& shape, uint64_t limit) {
  uint64_t entries = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension == 0) entries = 0;
  }
  for (const int64_t dimension : shape) {
    if (entries > 0 && entries > limit / dimension) return std::nullopt;
    entries *= dimension;
  }
  if (entries > limit) return std::nullopt;
  return entries;
}

absl::StatusOr<std::string> MakeHeader(const std::vector<SafetensorsEntry>& entries,
                                       const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    const std::string where = absl::StrCat("tensor ", entry.name, ": ");
    if (entry.name == kMetadata) return absl::InvalidArgumentError(where + "the name is reserved");
    if (header.contains(entry.name)) return absl::InvalidArgumentError(where + "occurs twice");
    if (EntriesOf(entry.shape, entry.values.size()) != entry.values.size()) {
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

// A name from the file, escaped and cut for a message.
std::string Quoted(absl::string_view name) {
  constexpr size_t kMaxShown = 100;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name.substr(0, kMaxShown)),
                      name.size() > kMaxShown ? "..." : "", "\"");
}

// Finds a key that occurs twice in one object: the parser would silently use the last. Takes time
// proportional to the length of the text.
class KeyCheck : public nlohmann::json_sax<Json> {
 public:
  const std::string& twice() const { return twice_; }  // the key, quoted; empty: none

  bool start_object(size_t /*size*/) override {
    open_.emplace_back();
    return open_.size() <= kMaxDepth;
  }
  bool key(std::string& name) override {
    if (open_.back().insert(name).second) return true;
    twice_ = Quoted(name);
    return false;
  }
  bool end_object() override {
    open_.pop_back();
    return true;
  }
  bool start_array(size_t /*size*/) override { return ++arrays_ <= kMaxDepth; }
  bool end_array() override { return arrays_-- > 0; }
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(int64_t /*value*/) override { return true; }
  bool number_unsigned(uint64_t /*value*/) override { return true; }
  bool number_float(double /*value*/, const std::string& /*text*/) override { return true; }
  bool string(std::string& /*value*/) override { return true; }
  bool binary(Json::binary_t& /*value*/) override { return true; }
  bool parse_error(size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return false;
  }

 private:
  static constexpr size_t kMaxDepth = 32;  // of objects and of arrays; the format needs 2 and 1

  std::vector<std::set<std::string>> open_;  // keys of the open objects
  size_t arrays_ = 0;                        // number of open arrays
  std::string twice_;
};

// The header as a JSON object. Errors say what is wrong with it.
absl::StatusOr<Json> ParseHeader(absl::string_view text) {
  if (text.empty() || text.front() != '{') {
    return absl::DataLossError("its header does not begin with {");
  }
  KeyCheck check;
  const bool parsed = Json::sax_parse(text.begin(), text.end(), &check);
  if (!check.twice().empty()) {
    return absl::DataLossError(absl::StrCat("the key ", check.twice(), " occurs twice"));
  }
  // The parser stops at a zero byte.
  const bool whole = parsed && !absl::StrContains(text, '\0');
  if (!whole) return absl::DataLossError("its header is not JSON");
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

// A tensor whose values have not been read yet, and their offsets in the data.
struct Place {
  SafetensorsTensor tensor;
  uint64_t begin = 0;
  uint64_t end = 0;
};

bool AreNumbers(const Json& json) {
  return json.is_array() && std::all_of(json.begin(), json.end(), [](const Json& number) {
           return number.is_number_unsigned() &&
                  number.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
         });
}

// Parses the header's entry of one tensor. Errors say what is wrong with it.
absl::StatusOr<Place> ParseEntry(const std::string& name, const Json& entry, uint64_t data_bytes) {
  const auto wrong = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("tensor ", Quoted(name), ": ", what));
  };
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry.is_object() || !entry.contains(field)) return wrong(absl::StrCat("no ", field));
  }
  const Json& dtype = entry["dtype"];
  if (!dtype.is_string()) return wrong("dtype is not a string");
  if (dtype != "F32") {
    return wrong(absl::StrCat("expected dtype F32, got ", Quoted(dtype.get<std::string>())));
  }
  if (!AreNumbers(entry["shape"])) return wrong("shape is not an array of sizes");
  if (!AreNumbers(entry["data_offsets"]) || entry["data_offsets"].size() != 2) {
    return wrong("data_offsets is not a pair of offsets");
  }
  Place place;
  place.tensor.name = name;
  place.tensor.shape = entry["shape"].get<std::vector<int64_t>>();
  place.begin = entry["data_offsets"][0].get<uint64_t>();
  place.end = entry["data_offsets"][1].get<uint64_t>();
  if (place.begin > place.end || place.end > data_bytes) {
    return wrong(absl::StrCat("its data_offsets ", place.begin, " to ", place.end,
                              " do not lie in the file's ", data_bytes, " bytes of data"));
  }
  const uint64_t bytes = place.end - place.begin;
  const std::optional<uint64_t> entries = EntriesOf(place.tensor.shape, data_bytes / sizeof(float));
  if (!entries.has_value() || *entries * sizeof(float) != bytes) {
    return wrong(absl::StrCat("its shape [", absl::StrJoin(place.tensor.shape, ", "),
                              "] does not fit its ", bytes, " bytes"));
  }
  return place;
}

// All tensors by ascending offsets, which must cover the data without gaps or overlaps.
absl::StatusOr<std::vector<Place>> ParseEntries(const Json& header, uint64_t data_bytes) {
  std::vector<Place> places;
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadata) continue;
    ASSIGN_OR_RETURN(Place place, ParseEntry(name, entry, data_bytes));
    places.push_back(std::move(place));
  }
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t expected = 0;
  for (const Place& place : places) {
    if (place.begin != expected) {
      return absl::DataLossError(
          absl::StrCat("tensor ", Quoted(place.tensor.name), ": expected its data at ", expected,
                       ", got ", place.begin, place.begin < expected ? ": an overlap" : ": a gap"));
    }
    expected = place.end;
  }
  if (expected != data_bytes) {
    return absl::DataLossError(
        absl::StrCat("expected ", expected, " bytes of data by its header, got ", data_bytes));
  }
  return places;
}

absl::StatusOr<std::map<std::string, std::string>> ParseMetadata(const Json& header) {
  std::map<std::string, std::string> metadata;
  if (!header.contains(kMetadata)) return metadata;
  const Json& json = header[kMetadata];
  if (!json.is_object()) return absl::DataLossError("__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      return absl::DataLossError(absl::StrCat("__metadata__ ", Quoted(key), " is not a string"));
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// Reads the header; leaves the file at the first value.
absl::StatusOr<std::string> ReadHeader(const UniqueDescriptor& file, const std::string& path,
                                       uint64_t file_bytes) {
  uint64_t length = 0;
  if (file_bytes < sizeof(length)) {
    return Malformed(path, absl::StrCat("it has only ", file_bytes, " bytes"));
  }
  RETURN_IF_ERROR(ReadExactly(file, path, reinterpret_cast<char*>(&length), sizeof(length)));
  if (length > std::min(file_bytes - sizeof(length), kMaxHeaderBytes)) {
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
  std::map<std::string, std::string> metadata;
  std::vector<Place> places;
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
  const absl::StatusOr<Json> json = ParseHeader(text);
  if (!json.ok()) return Malformed(path, json.status().message());
  absl::StatusOr<std::map<std::string, std::string>> metadata = ParseMetadata(*json);
  if (!metadata.ok()) return Malformed(path, metadata.status().message());
  header.metadata = *std::move(metadata);
  absl::StatusOr<std::vector<Place>> places =
      ParseEntries(*json, *file_bytes - sizeof(uint64_t) - text.size());
  if (!places.ok()) return Malformed(path, places.status().message());
  header.places = *std::move(places);
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
  return SafetensorsHeader{static_cast<int64_t>(header.file_bytes), std::move(header.metadata)};
}

absl::StatusOr<SafetensorsContent> ReadSafetensors(const std::string& path) {
  ASSIGN_OR_RETURN(Header header, OpenHeader(path));
  SafetensorsContent content;
  content.metadata = std::move(header.metadata);
  for (Place& place : header.places) {
    std::vector<float>& values = place.tensor.values;
    const uint64_t bytes = place.end - place.begin;
    if (!Resize(values, bytes / sizeof(float))) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot read ", path, ": not enough memory for the ", bytes,
                       " bytes of tensor ", Quoted(place.tensor.name)));
    }
    RETURN_IF_ERROR(ReadExactly(header.file, path, reinterpret_cast<char*>(values.data()), bytes));
    content.tensors.push_back(std::move(place.tensor));
  }
  return content;
}

}  // namespace percentdelta

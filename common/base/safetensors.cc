#include "common/base/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/durable_file.h"
#include "common/base/float_bytes.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

constexpr size_t kAlignment = 8;
constexpr uint64_t kMaxHeaderBytes = uint64_t{16} << 20;
constexpr char kMetadata[] = "__metadata__";

// Sorted keys: the reader looks them up, and a file of its maker's choice has many.
using Json = nlohmann::json;

absl::Status SystemError(absl::string_view what, const std::string& path) {
  const int error = errno;
  return absl::ErrnoToStatus(error, absl::StrCat("cannot ", what, " ", path));
}

absl::Status Malformed(const std::string& path, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(path, " is no whole safetensors file: ", what));
}

// A file descriptor that is closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool ok() const { return fd_ >= 0; }

  // All of `size` bytes, or why not. `path` is for the message.
  absl::Status Read(const std::string& path, char* bytes, uint64_t size) const {
    while (size > 0) {
      const ssize_t got = read(fd_, bytes, size);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return SystemError("read", path);
      if (got == 0) return Malformed(path, "it was cut short while it was read");
      bytes += got;
      size -= got;
    }
    return absl::OkStatus();
  }

  // Nothing unless it is a regular file.
  std::optional<uint64_t> Size() const {
    struct stat status {};
    if (fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    return status.st_size;
  }

 private:
  const int fd_;
};

// The product; nothing if a dimension is negative or the product is more than `limit`.
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
    if (header.contains(entry.name)) return absl::InvalidArgumentError(where + "comes twice");
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

// A name from the file, fit for a message.
std::string Quoted(absl::string_view name) {
  constexpr size_t kMost = 100;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name.substr(0, kMost)),
                      name.size() > kMost ? "..." : "", "\"");
}

// Looks for equal keys of one object, of which the parser would let the last one win. Takes time in
// proportion to the text, whatever stands there.
class KeyCheck : public nlohmann::json_sax<Json> {
 public:
  const std::string& twice() const { return twice_; }  // quoted; empty: none

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
  static constexpr size_t kMaxDepth = 32;  // of objects, of arrays; the format needs two and one

  std::vector<std::set<std::string>> open_;  // keys of the open objects
  size_t arrays_ = 0;                        // that are open
  std::string twice_;
};

// The header as a JSON object, or what is wrong with it.
absl::StatusOr<Json> ParseHeader(absl::string_view text) {
  if (text.empty() || text.front() != '{') {
    return absl::DataLossError("its header does not begin with {");
  }
  KeyCheck check;
  const bool parsed = Json::sax_parse(text.begin(), text.end(), &check);
  if (!check.twice().empty()) {
    return absl::DataLossError(absl::StrCat("the key ", check.twice(), " comes twice"));
  }
  // The parser takes a zero byte for the end.
  const bool whole = parsed && !absl::StrContains(text, '\0');
  if (!whole) return absl::DataLossError("its header is not JSON");
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

// A tensor, without its values as yet, and where they are among the data.
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

// What the header says of one tensor, or what is wrong with it.
absl::StatusOr<Place> ParseEntry(const std::string& name, const Json& entry, uint64_t data_bytes) {
  const auto wrong = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("tensor ", Quoted(name), ": ", what));
  };
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry.is_object() || !entry.contains(field)) return wrong(absl::StrCat("no ", field));
  }
  const Json& dtype = entry["dtype"];
  if (!dtype.is_string()) return wrong("dtype is no string");
  if (dtype != "F32") {
    return wrong(absl::StrCat("expected dtype F32, got ", Quoted(dtype.get<std::string>())));
  }
  if (!AreNumbers(entry["shape"])) return wrong("shape is no array of sizes");
  if (!AreNumbers(entry["data_offsets"]) || entry["data_offsets"].size() != 2) {
    return wrong("data_offsets is no pair of offsets");
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

// All tensors by ascending offsets, which must cover the data without holes or overlap.
absl::StatusOr<std::vector<Place>> ParseEntries(const Json& header, uint64_t data_bytes) {
  std::vector<Place> places;
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadata) continue;
    absl::StatusOr<Place> place = ParseEntry(name, entry, data_bytes);
    if (!place.ok()) return place.status();
    places.push_back(*std::move(place));
  }
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t expected = 0;
  for (const Place& place : places) {
    if (place.begin != expected) {
      return absl::DataLossError(absl::StrCat(
          "tensor ", Quoted(place.tensor.name), ": expected its data at ", expected, ", got ",
          place.begin, place.begin < expected ? ": an overlap" : ": a hole"));
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
  if (!json.is_object()) return absl::DataLossError("__metadata__ is no object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      return absl::DataLossError(absl::StrCat("__metadata__ ", Quoted(key), " is no string"));
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// Reads and checks the header; leaves the file at the first value.
absl::StatusOr<std::string> ReadHeader(const Descriptor& file, const std::string& path,
                                       uint64_t file_bytes) {
  uint64_t length = 0;
  if (file_bytes < sizeof(length)) {
    return Malformed(path, absl::StrCat("it has only ", file_bytes, " bytes"));
  }
  absl::Status status = file.Read(path, reinterpret_cast<char*>(&length), sizeof(length));
  if (!status.ok()) return status;
  const uint64_t most = std::min(file_bytes - sizeof(length), kMaxHeaderBytes);
  if (length > most) {
    return Malformed(path, absl::StrCat("it has ", file_bytes, " bytes and says that ", length,
                                        " of them are its header"));
  }
  std::string text(length, '\0');
  status = file.Read(path, text.data(), length);
  if (!status.ok()) return status;
  return text;
}

// False if there is not so much memory, as for a file that is long but holds little.
bool Resize(std::vector<float>& values, uint64_t count) {
  try {
    values.resize(count);
  } catch (const std::exception&) {  // bad_alloc or length_error
    return false;
  }
  return true;
}

// A file that has been opened, and read up to its values.
struct Header {
  std::unique_ptr<Descriptor> file;
  uint64_t file_bytes = 0;
  std::map<std::string, std::string> metadata;
  std::vector<Place> places;
};

absl::StatusOr<Header> OpenHeader(const std::string& path) {
  Header header;
  // Without waiting for a writer, should it be a pipe.
  header.file = std::make_unique<Descriptor>(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!header.file->ok()) return SystemError("open", path);
  const std::optional<uint64_t> file_bytes = header.file->Size();
  if (!file_bytes.has_value()) return Malformed(path, "it is no regular file");
  header.file_bytes = *file_bytes;
  const absl::StatusOr<std::string> text = ReadHeader(*header.file, path, *file_bytes);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Json> json = ParseHeader(*text);
  if (!json.ok()) return Malformed(path, json.status().message());
  absl::StatusOr<std::map<std::string, std::string>> metadata = ParseMetadata(*json);
  if (!metadata.ok()) return Malformed(path, metadata.status().message());
  header.metadata = *std::move(metadata);
  absl::StatusOr<std::vector<Place>> places =
      ParseEntries(*json, *file_bytes - sizeof(uint64_t) - text->size());
  if (!places.ok()) return Malformed(path, places.status().message());
  header.places = *std::move(places);
  return header;
}

}  // namespace

absl::Status WriteSafetensors(DurableFile& file, const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  const absl::StatusOr<std::string> header = MakeHeader(entries, metadata);
  if (!header.ok()) return header.status();
  absl::Status status = file.Open();
  const uint64_t length = header->size();  // little-endian, as this machine is (float_bytes.h)
  if (status.ok()) status = file.Write({reinterpret_cast<const char*>(&length), sizeof(length)});
  if (status.ok()) status = file.Write(*header);
  for (const SafetensorsEntry& entry : entries) {
    if (status.ok()) status = file.Write(AsBytes(entry.values));
  }
  return status;
}

absl::Status WriteSafetensors(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  DurableFile file(path, {});
  absl::Status status = WriteSafetensors(file, entries, metadata);
  return status.ok() ? file.Commit() : status;
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path) {
  const absl::StatusOr<Header> header = OpenHeader(path);
  if (!header.ok()) return header.status();
  return SafetensorsHeader{static_cast<int64_t>(header->file_bytes), header->metadata};
}

absl::StatusOr<SafetensorsContent> ReadSafetensors(const std::string& path) {
  absl::StatusOr<Header> header = OpenHeader(path);
  if (!header.ok()) return header.status();
  SafetensorsContent content;
  content.metadata = std::move(header->metadata);
  for (Place& place : header->places) {
    std::vector<float>& values = place.tensor.values;
    const uint64_t bytes = place.end - place.begin;
    if (!Resize(values, bytes / sizeof(float))) {
      return absl::ResourceExhaustedError(absl::StrCat("cannot read ", path, ": no memory for the ",
                                                       bytes, " bytes of tensor ",
                                                       Quoted(place.tensor.name)));
    }
    absl::Status status = header->file->Read(path, reinterpret_cast<char*>(values.data()), bytes);
    if (!status.ok()) return status;
    content.tensors.push_back(std::move(place.tensor));
  }
  return content;
}

}  // namespace percentdelta

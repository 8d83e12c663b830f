// SPDX-License-Identifier: Apache-2.0

#include "common/base/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

// Sorted keys: the reader looks them up, and a hostile file may have many.
using Json = nlohmann::json;

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
    twice_ = QuotedName(name);
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

bool AreNumbers(const Json& json) {
  return json.is_array() && std::all_of(json.begin(), json.end(), [](const Json& number) {
           return number.is_number_unsigned() &&
                  number.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
         });
}

// Parses the header's entry of one tensor. Errors say what is wrong with it.
absl::StatusOr<SafetensorsPlace> ParseEntry(const std::string& name, const Json& entry,
                                            uint64_t data_bytes) {
  const auto wrong = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("tensor ", QuotedName(name), ": ", what));
  };
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry.is_object() || !entry.contains(field)) return wrong(absl::StrCat("no ", field));
  }
  const Json& dtype = entry["dtype"];
  if (!dtype.is_string()) return wrong("dtype is not a string");
  if (!AreNumbers(entry["shape"])) return wrong("shape is not an array of sizes");
  if (!AreNumbers(entry["data_offsets"]) || entry["data_offsets"].size() != 2) {
    return wrong("data_offsets is not a pair of offsets");
  }
  SafetensorsPlace place;
  place.name = name;
  place.dtype = dtype.get<std::string>();
  place.shape = entry["shape"].get<std::vector<int64_t>>();
  place.begin = entry["data_offsets"][0].get<uint64_t>();
  place.end = entry["data_offsets"][1].get<uint64_t>();
  if (place.begin > place.end || place.end > data_bytes) {
    return wrong(absl::StrCat("its data_offsets ", place.begin, " to ", place.end,
                              " do not lie in the file's ", data_bytes, " bytes of data"));
  }
  const uint64_t bytes = place.end - place.begin;
  const std::optional<uint64_t> size = BytesOfDtype(place.dtype);
  if (!size.has_value()) return place;
  const std::optional<uint64_t> entries = EntriesOfShape(place.shape, bytes / *size);
  if (!entries.has_value() || *entries * *size != bytes) {
    return wrong(absl::StrCat("its shape [", absl::StrJoin(place.shape, ", "),
                              "] does not fit its ", bytes, " bytes"));
  }
  return place;
}

// All tensors by ascending offsets, which must cover the data without gaps or overlaps.
absl::StatusOr<std::vector<SafetensorsPlace>> ParseEntries(const Json& header,
                                                           uint64_t data_bytes) {
  std::vector<SafetensorsPlace> places;
  for (const auto& [name, entry] : header.items()) {
    if (name == kSafetensorsMetadata) continue;
    ASSIGN_OR_RETURN(SafetensorsPlace place, ParseEntry(name, entry, data_bytes));
    places.push_back(std::move(place));
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const SafetensorsPlace& a, const SafetensorsPlace& b) {
                     return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                   });
  uint64_t expected = 0;
  for (const SafetensorsPlace& place : places) {
    if (place.begin != expected) {
      return absl::DataLossError(
          absl::StrCat("tensor ", QuotedName(place.name), ": expected its data at ", expected,
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
  if (!header.contains(kSafetensorsMetadata)) return metadata;
  const Json& json = header[kSafetensorsMetadata];
  if (!json.is_object()) return absl::DataLossError("__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      return absl::DataLossError(
          absl::StrCat("__metadata__ ", QuotedName(key), " is not a string"));
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

}  // namespace

std::string QuotedName(absl::string_view name) {
  constexpr size_t kMaxShown = 100;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name.substr(0, kMaxShown)),
                      name.size() > kMaxShown ? "..." : "", "\"");
}

std::optional<uint64_t> BytesOfDtype(absl::string_view dtype) {
  static constexpr std::pair<absl::string_view, uint64_t> kBytes[] = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
      {"U32", 4},  {"F32", 4}, {"I64", 8}, {"U64", 8},     {"F64", 8}};
  for (const auto& [name, bytes] : kBytes) {
    if (name == dtype) return bytes;
  }
  return std::nullopt;
}

std::optional<uint64_t> EntriesOfShape(const std::vector<int64_t>& shape, uint64_t limit) {
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

absl::StatusOr<SafetensorsIndex> ParseSafetensorsHeader(absl::string_view text,
                                                        uint64_t data_bytes) {
  SafetensorsIndex index;
  ASSIGN_OR_RETURN(const Json json, ParseHeader(text));
  ASSIGN_OR_RETURN(index.metadata, ParseMetadata(json));
  ASSIGN_OR_RETURN(index.places, ParseEntries(json, data_bytes));
  return index;
}

}  // namespace percentdelta

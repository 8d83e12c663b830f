// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/manifest.h"

#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

// Keeps the order of insertion, for human readers.
using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "percentdelta checkpoint 1";

// The text of a JSON object with its checksum, which is that of the text without it.
std::string Seal(Json json) {
  const auto dump = [&] { return json.dump(1, ' ', false, Json::error_handler_t::replace); };
  json["checksum"] = Sha256Hex(dump());
  return dump() + "\n";
}

template <typename T>
bool Get(const Json& json, const char* key, T& value) {
  const auto found = json.find(key);
  if (found == json.end()) return false;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return false;
  } else {
    if (!found->is_number_unsigned()) return false;
  }
  value = found->get<T>();
  return true;
}

}  // namespace

std::string ToJson(const Manifest& manifest) {
  Json json = {{"format", kFormat},
               {"step", manifest.step},
               {"generation", manifest.generation},
               {"shards", manifest.shards},
               {"job_hash", manifest.job_hash},
               {"job", manifest.job},
               {"files", Json::array()}};
  for (const FileEntry& file : manifest.files) {
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  return Seal(std::move(json));
}

absl::StatusOr<Manifest> ParseManifest(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("expected a JSON object");
  Manifest manifest;
  std::string format;
  if (!Get(json, "format", format) || format != kFormat) {
    return absl::DataLossError(
        absl::StrCat("expected the format \"", kFormat, "\", got ",
                     format.empty() ? "none" : absl::StrCat("\"", format, "\"")));
  }
  bool complete =
      Get(json, "step", manifest.step) && Get(json, "generation", manifest.generation) &&
      Get(json, "shards", manifest.shards) && Get(json, "job_hash", manifest.job_hash) &&
      Get(json, "job", manifest.job) && json.contains("files") && json["files"].is_array();
  if (complete) {
    for (const Json& entry : json["files"]) {
      FileEntry& file = manifest.files.emplace_back();
      complete = complete && entry.is_object() && Get(entry, "name", file.name) &&
                 Get(entry, "bytes", file.bytes) && Get(entry, "sha256", file.sha256);
    }
  }
  if (!complete) return absl::DataLossError("a field is missing or has another type");
  // Not the parsed text: writing what is nested without end would exhaust the stack.
  if (ToJson(manifest) != text) {
    return absl::DataLossError("it does not match its own checksum");
  }
  return manifest;
}

}  // namespace percentdelta

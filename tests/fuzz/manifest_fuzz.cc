// SPDX-License-Identifier: Apache-2.0

// A checkpoint's manifest: as it is, and with a right checksum, which no mutation would find.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/sha256.h"
#include "server/checkpoint/manifest.h"
#include "tests/fuzz/check.h"

namespace percentdelta {
namespace {

void Parse(absl::string_view text) {
  const absl::StatusOr<Manifest> manifest = ParseManifest(text);
  FUZZ_CHECK(manifest.ok() || absl::IsDataLoss(manifest.status()));
  if (!manifest.ok()) return;
  FUZZ_CHECK(manifest->step >= 0 && manifest->shards >= 0);
  const absl::StatusOr<Manifest> again = ParseManifest(ToJson(*manifest));
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(again->step == manifest->step && again->generation == manifest->generation &&
             again->shards == manifest->shards && again->job == manifest->job);
}

}  // namespace
}  // namespace percentdelta

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  Parse(text);
  if (!absl::EndsWith(text, "\n}")) return 0;
  Parse(absl::StrCat(text.substr(0, size - 2), ",\n \"checksum\": \"", Sha256Hex(text), "\"\n}\n"));
  return 0;
}

// SPDX-License-Identifier: Apache-2.0

// What makes files a checkpoint: the list of their names, sizes and checksums. Written last.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_MANIFEST_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/checkpoint/slice_file.h"

namespace percentdelta {

inline constexpr char kManifestName[] = "manifest.json";

struct Manifest {
  int64_t step = 0;
  uint64_t generation = 0;  // of the cluster that wrote it
  int shards = 0;
  std::string job_hash;
  std::string job;  // in its text format
  std::vector<FileEntry> files;
};

// JSON with a checksum of its own, so that a flipped bit in it is detected, too.
std::string ToJson(const Manifest& manifest);

// Accepts exactly what ToJson() writes. kDataLoss: anything else; the message says what is wrong.
absl::StatusOr<Manifest> ParseManifest(absl::string_view text);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_MANIFEST_H_

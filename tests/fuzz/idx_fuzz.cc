// SPDX-License-Identifier: Apache-2.0

// A data set's file, plain or compressed: a first byte that says of what kind, then the file.

#include <cstddef>
#include <cstdint>

#include "tests/fuzz/check.h"
#include "tests/fuzz/input_file.h"
#include "worker/data/idx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  if (size == 0) return 0;
  const InputFile file(data + 1, size - 1);
  const IdxKind kind = (data[0] & 1) == 0 ? IdxKind::kImages : IdxKind::kLabels;
  const absl::StatusOr<IdxFile> idx = ReadIdx(file.path(), kind, {});
  if (!idx.ok()) return 0;
  uint64_t product = 1;
  for (const uint32_t dimension : idx->dimensions) product *= dimension;
  FUZZ_CHECK(product == idx->entries.size());
  if (kind == IdxKind::kImages) {
    const IdxFile labels = {{idx->dimensions[0]}, std::vector<uint8_t>(idx->dimensions[0])};
    FUZZ_CHECK(MakeDataset(*idx, "images", labels, "labels").ok());
  }
  return 0;
}

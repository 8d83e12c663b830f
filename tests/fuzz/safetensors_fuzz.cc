// SPDX-License-Identifier: Apache-2.0

// A safetensors file, of a checkpoint or of initial weights. The header alone must be accepted
// whenever the whole file is.

#include <cstddef>
#include <cstdint>

#include "common/base/safetensors.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/input_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  const InputFile file(data, size);
  const absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(file.path());
  const absl::StatusOr<SafetensorsContent> content = ReadSafetensors(file.path());
  FUZZ_CHECK(header.ok() == content.ok());
  if (!content.ok()) return 0;
  FUZZ_CHECK(header->file_bytes == static_cast<int64_t>(size));
  size_t bytes = 0;
  for (const SafetensorsTensor& tensor : content->tensors) {
    size_t product = 1;
    for (const int64_t dimension : tensor.shape) product *= dimension;
    FUZZ_CHECK(product == tensor.values.size());
    bytes += tensor.values.size() * sizeof(float);
  }
  FUZZ_CHECK(bytes < size);
  return 0;
}

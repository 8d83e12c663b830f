// SPDX-License-Identifier: Apache-2.0

// Writes and reads tensors in the safetensors format, which PyTorch, NumPy and JAX users read:
// eight bytes of header length, a JSON header, the values. Row-major, little-endian float32. The
// format has no checksum: a flipped bit in the values is not detected here.

#ifndef PERCENTDELTA_COMMON_BASE_SAFETENSORS_H_
#define PERCENTDELTA_COMMON_BASE_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/durable_file.h"

namespace percentdelta {

// Refers to the values, which must outlive the call.
struct SafetensorsEntry {
  std::string name;
  std::vector<int64_t> shape;  // its product is the number of values
  absl::Span<const float> values;
};

// Writes a DurableFile: after a crash, either the old file or the new one exists. The values are in
// the file in the order of `entries`.
//   kInvalidArgument  a name occurs twice or is reserved, or a shape does not fit its values
//   others            the system's error, with the path; nothing is left behind
absl::Status WriteSafetensors(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata);

// The same without the commit, which is left to the caller: it may need the size and the SHA-256.
absl::Status WriteSafetensors(DurableFile& file, const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata);

struct SafetensorsTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

struct SafetensorsContent {
  std::vector<SafetensorsTensor> tensors;  // in the order of their values in the file
  std::map<std::string, std::string> metadata;
};

struct SafetensorsHeader {
  int64_t file_bytes = 0;
  std::map<std::string, std::string> metadata;
};

// Reads the header of a file and checks it against the file's size; does not read the values.
// Errors as below.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path);

// Reads a file of float32 tensors, of any writer. The file need not be trusted: everything is
// checked before memory is allocated for values, and never more than the file's size.
//   kDataLoss           not a complete, well-formed file of float32 tensors; says what is wrong,
//   and
//                       where. A header of more than 16 MiB counts as malformed.
//   kResourceExhausted  not enough memory for the values
//   others              the system's error, with the path
absl::StatusOr<SafetensorsContent> ReadSafetensors(const std::string& path);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_SAFETENSORS_H_

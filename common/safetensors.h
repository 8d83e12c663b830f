// Writes tensors in the safetensors format, which PyTorch, NumPy and JAX users read: eight bytes of
// header length, a JSON header, the values. Row-major, little-endian float32.

#ifndef PERCENTDELTA_COMMON_SAFETENSORS_H_
#define PERCENTDELTA_COMMON_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace percentdelta {

// The values are not copied: they must outlive the call.
struct SafetensorsEntry {
  std::string name;
  std::vector<int64_t> shape;  // its product is the number of values
  absl::Span<const float> values;
};

// Writes the file under a temporary name beside it, syncs it, renames it, and syncs the directory:
// after a crash there is the old file or the new one. An existing file is replaced.
//   kInvalidArgument  a name twice, or a shape that does not fit its values
//   kUnavailable      the system's reason, with the path; nothing is left behind
absl::Status WriteSafetensors(const std::string& path,
                              const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_SAFETENSORS_H_

// Writes and reads tensors in the safetensors format, which PyTorch, NumPy and JAX users read:
// eight bytes of header length, a JSON header, the values. Row-major, little-endian float32. The
// format has no checksum: a flipped bit among the values is not noticed here.

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

// The values are not copied: they must outlive the call.
struct SafetensorsEntry {
  std::string name;
  std::vector<int64_t> shape;  // its product is the number of values
  absl::Span<const float> values;
};

// Writes the file under a temporary name beside it (path + ".tmp-..."), syncs it, renames it, and
// syncs the directory: after a crash there is the old file or the new one. An existing file is
// replaced. The tensors' values stand in the file in the order of `entries`.
//   kInvalidArgument  a name twice or reserved, or a shape that does not fit its values
//   others            the system's reason, with the path; nothing is left behind
absl::Status WriteSafetensors(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata);

// The same, up to the commit, which is the caller's: it may want to know the size and the SHA-256.
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

// The metadata of a file whose size fits its header; the values are not read. Errors as below.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path);

// Reads a file of float32 tensors, whoever wrote it. The file need not be trusted: everything is
// checked before memory is taken for values, and never more than the file is long.
//   kDataLoss  not a whole, well-formed file of float32 tensors; says what is wrong, and where. A
//              header of more than 16 MiB is taken for garbage.
//   others     the system's reason, with the path; kResourceExhausted: no memory for the values
absl::StatusOr<SafetensorsContent> ReadSafetensors(const std::string& path);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_SAFETENSORS_H_

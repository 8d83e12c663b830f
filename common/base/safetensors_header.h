// SPDX-License-Identifier: Apache-2.0

// The JSON header of a safetensors file: which tensors the file has, and where their values are.

#ifndef PERCENTDELTA_COMMON_BASE_SAFETENSORS_HEADER_H_
#define PERCENTDELTA_COMMON_BASE_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// The key of the header that is not a tensor.
inline constexpr char kSafetensorsMetadata[] = "__metadata__";

// Longer headers count as malformed.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = uint64_t{16} << 20;

// A tensor whose values have not been read.
struct SafetensorsPlace {
  std::string name;
  std::string dtype;  // "F32", "BF16", ...: any string
  std::vector<int64_t> shape;

  // Of its bytes, which begin at any offset, in the data behind the header.
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsIndex {
  std::map<std::string, std::string> metadata;
  std::vector<SafetensorsPlace> places;  // by offset: together they are the data
};

// Parses the header, the text behind the eight bytes of its length, of a file with `data_bytes`
// bytes behind it. The text need not be trusted. Checks that the tensors' offsets cover the data
// without gaps or overlaps, and that a shape fits its bytes if the size of its dtype is known here.
// kDataLoss: it does not; the message, without the file's name, says what is wrong, and where.
absl::StatusOr<SafetensorsIndex> ParseSafetensorsHeader(absl::string_view text,
                                                        uint64_t data_bytes);

// Number of bytes of one entry; nothing for a dtype that is not known here.
std::optional<uint64_t> BytesOfDtype(absl::string_view dtype);

// The product. Nothing: a dimension is negative, or the product exceeds `limit`.
std::optional<uint64_t> EntriesOfShape(const std::vector<int64_t>& shape, uint64_t limit);

// A name from a file, escaped and cut for a message, in quotes.
std::string QuotedName(absl::string_view name);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_SAFETENSORS_HEADER_H_

// SPDX-License-Identifier: Apache-2.0

// Float values on the wire: contiguous little-endian float32.

#ifndef PERCENTDELTA_COMMON_BASE_FLOAT_BYTES_H_
#define PERCENTDELTA_COMMON_BASE_FLOAT_BYTES_H_

#include <bit>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace percentdelta {

static_assert(std::endian::native == std::endian::little,
              "values are copied to and from the wire without conversion");

inline absl::string_view AsBytes(absl::Span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// Copies consecutive pieces, which need not be aligned and may end within a value. Their total size
// must be that of `values`.
inline void CopyFromBytes(absl::Span<const absl::string_view> pieces, absl::Span<float> values) {
  char* to = reinterpret_cast<char*>(values.data());
  for (const absl::string_view piece : pieces) {
    if (piece.empty()) continue;
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  }
}

// Returns the index of the first NaN or infinity, or -1.
inline int64_t FindNonFinite(absl::Span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000;
  const auto is_bad = [](float value) {
    return (std::bit_cast<uint32_t>(value) & kExponent) == kExponent;
  };
  // One stretch at a time, without a branch per entry, so that the compiler vectorises the loop.
  constexpr size_t kStretch = 4096;
  for (size_t begin = 0; begin < values.size(); begin += kStretch) {
    const absl::Span<const float> stretch = values.subspan(begin, kStretch);
    uint32_t bad = 0;
    for (const float value : stretch) bad |= is_bad(value) ? 1U : 0U;
    if (bad == 0) continue;
    for (size_t i = 0; i < stretch.size(); ++i) {
      if (is_bad(stretch[i])) return static_cast<int64_t>(begin + i);
    }
  }
  return -1;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_FLOAT_BYTES_H_

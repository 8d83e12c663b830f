// SPDX-License-Identifier: Apache-2.0

// Floating-point numbers of 16 bits, widened to float, which holds each of them exactly.

#ifndef PERCENTDELTA_COMMON_BASE_HALF_FLOAT_H_
#define PERCENTDELTA_COMMON_BASE_HALF_FLOAT_H_

#include <bit>
#include <cstdint>

namespace percentdelta {

// bfloat16: the upper half of a float.
inline float FromBfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// IEEE 754 binary16: sign, 5 bits of exponent with bias 15, 10 bits of fraction. NaNs keep the bits
// of their payload.
inline float FromFloat16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: multiples of 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  const uint32_t widened = exponent == 0x1f ? 0xff : exponent + (127 - 15);
  return std::bit_cast<float>(sign | widened << 23 | fraction << 13);
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_HALF_FLOAT_H_

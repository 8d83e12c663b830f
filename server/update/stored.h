// SPDX-License-Identifier: Apache-2.0

// How a training stores what it keeps from step to step, weights and the rule's state: as float.

#ifndef PERCENTDELTA_SERVER_UPDATE_STORED_H_
#define PERCENTDELTA_SERVER_UPDATE_STORED_H_

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cstdint>

namespace percentdelta {

// Returns the float nearest to `value`; beyond the range of float, and for both infinities, its
// end:
// +-FLT_MAX. Never returns an infinity or NaN: no step computes a NaN (rule.h), and it would become
// FLT_MAX of its sign.
//
// Compares the bits: infinity and NaN follow FLT_MAX, as signed integers where the sign is 0 and as
// unsigned ones where it is 1. That costs next to nothing in a loop over entries, and gives the
// same bits in every instruction set.
inline float Stored(double value) {
  constexpr auto kLargest = std::bit_cast<int32_t>(FLT_MAX);
  constexpr auto kLowest = std::bit_cast<uint32_t>(-FLT_MAX);
  const auto bits = std::bit_cast<int32_t>(static_cast<float>(value));
  const auto not_above = static_cast<uint32_t>(std::min(bits, kLargest));
  return std::bit_cast<float>(std::min(not_above, kLowest));
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_STORED_H_

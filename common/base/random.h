// SPDX-License-Identifier: Apache-2.0

// The project's random numbers, defined to the last bit: the same on every platform, compiler and
// standard library, unlike std::shuffle and the std::*_distribution. Everything that depends on a
// seed (initial weights, the order of the examples) is defined by this file; tests pin its values.
//
// The generator is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", 2014), which is counter-based: number i of a stream is a hash of (start + (i + 1) *
// constant).

#ifndef PERCENTDELTA_COMMON_BASE_RANDOM_H_
#define PERCENTDELTA_COMMON_BASE_RANDOM_H_

#include <cstdint>
#include <string_view>

namespace percentdelta {

// SplitMix64's finalizer: a bijection of the 64-bit numbers in which every bit of `value` affects
// every bit of the result. Mix64(0) is 0.
uint64_t Mix64(uint64_t value);

// A hash of an ordered pair: Mix64(Mix64(first + 0x9e3779b97f4a7c15) + second). Can be nested:
// Hash64(seed, Hash64(HashString("order"), epoch)).
uint64_t Hash64(uint64_t first, uint64_t second);

// 64-bit FNV-1a of the bytes of `text`.
uint64_t HashString(std::string_view text);

// The random numbers of (seed, stream): independent of those of any other pair, for all practical
// purposes. A copy continues from the same position in the stream. Not thread-safe.
class RandomStream {
 public:
  // The stream begins at state Hash64(seed, stream).
  RandomStream(uint64_t seed, uint64_t stream);

  // All 2^64 values are equally likely.
  uint64_t Next();

  // In 0 ... n - 1, all exactly equally likely: draws again if a number falls into the incomplete
  // last round. `n` must be at least 1.
  uint64_t Below(uint64_t n);

  // In [0, 1), a multiple of 2^-53: the upper 53 bits of Next().
  double Uniform();

 private:
  uint64_t state_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_RANDOM_H_

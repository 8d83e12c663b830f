// SPDX-License-Identifier: Apache-2.0

#include "common/base/random.h"

#include <cstdint>
#include <string_view>

namespace percentdelta {
namespace {

// 2^64 divided by the golden ratio, made odd.
constexpr uint64_t kGamma = 0x9e3779b97f4a7c15;

}  // namespace

uint64_t Mix64(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

uint64_t Hash64(uint64_t first, uint64_t second) { return Mix64(Mix64(first + kGamma) + second); }

uint64_t HashString(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return hash;
}

RandomStream::RandomStream(uint64_t seed, uint64_t stream) : state_(Hash64(seed, stream)) {}

uint64_t RandomStream::Next() {
  state_ += kGamma;
  return Mix64(state_);
}

uint64_t RandomStream::Below(uint64_t n) {
  // Without the lowest 2^64 mod n numbers, the count of the rest is a multiple of n.
  const uint64_t surplus = (0 - n) % n;
  uint64_t number = Next();
  while (number < surplus) number = Next();
  return number % n;
}

double RandomStream::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/lease_ids.h"

#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"

namespace percentdelta {
namespace {

constexpr int kRounds = 8;
constexpr int kKeyWords = 8;

std::string RandomKey() {
  std::random_device device;
  std::string key;
  for (int i = 0; i < kKeyWords; ++i) absl::StrAppend(&key, device(), ".");
  return key;
}

uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
uint64_t Join(uint32_t high, uint32_t low) { return static_cast<uint64_t>(high) << 32 | low; }

}  // namespace

LeaseIds::LeaseIds() : LeaseIds(RandomKey()) {}

uint32_t LeaseIds::Round(int round, uint32_t half) const {
  constexpr int kHexDigits = 8;
  uint32_t result = 0;
  const std::string hash = Sha256Hex(absl::StrCat(key_, "/", round, "/", half));
  // Always succeeds: the text is of hexadecimal digits.
  [[maybe_unused]] const bool parsed = absl::SimpleHexAtoi(hash.substr(0, kHexDigits), &result);
  return result;
}

uint64_t LeaseIds::Hide(uint64_t id) const {
  if (id == 0) return 0;
  uint32_t left = High(id);
  uint32_t right = Low(id);
  for (int round = 0; round < kRounds; ++round) {
    const uint32_t mixed = left ^ Round(round, right);
    left = right;
    right = mixed;
  }
  return Join(left, right);
}

uint64_t LeaseIds::Reveal(uint64_t hidden) const {
  if (hidden == 0) return 0;
  uint32_t left = High(hidden);
  uint32_t right = Low(hidden);
  for (int round = kRounds - 1; round >= 0; --round) {
    const uint32_t mixed = right ^ Round(round, left);
    right = left;
    left = mixed;
  }
  return Join(left, right);
}

}  // namespace percentdelta

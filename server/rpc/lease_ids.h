// SPDX-License-Identifier: Apache-2.0

// Numbers that cannot be guessed in place of the coordinator's, which count from 1: who has not got
// a lease does not know its id.

#ifndef PERCENTDELTA_SERVER_RPC_LEASE_IDS_H_
#define PERCENTDELTA_SERVER_RPC_LEASE_IDS_H_

#include <cstdint>
#include <string>
#include <utility>

namespace percentdelta {

// A permutation of the 64-bit numbers, by a Feistel network with rounds of SHA-256 over the key. 0,
// which is no lease's id, stands for itself; the one number that is hidden as 0 is beyond all
// counting. Thread-safe, immutable.
class LeaseIds {
 public:
  explicit LeaseIds(std::string key) : key_(std::move(key)) {}

  // With a random key.
  LeaseIds();

  uint64_t Hide(uint64_t id) const;
  uint64_t Reveal(uint64_t hidden) const;

 private:
  uint32_t Round(int round, uint32_t half) const;

  const std::string key_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_LEASE_IDS_H_

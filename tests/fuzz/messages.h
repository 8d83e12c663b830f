// SPDX-License-Identifier: Apache-2.0

// A fuzzer's input as the messages of a stream: of each, two bytes of length, a byte that says how
// gRPC cuts it into slices, and its bytes.

#ifndef PERCENTDELTA_TESTS_FUZZ_MESSAGES_H_
#define PERCENTDELTA_TESTS_FUZZ_MESSAGES_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace percentdelta {

// Slices of `piece` bytes; 0: one slice.
inline grpc::ByteBuffer Cut(absl::string_view bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  do {
    const absl::string_view first = bytes.substr(0, piece == 0 ? bytes.size() : piece);
    slices.emplace_back(first.data(), first.size());
    bytes.remove_prefix(first.size());
  } while (!bytes.empty());
  return {slices.data(), slices.size()};
}

inline std::vector<grpc::ByteBuffer> MessagesOf(const uint8_t* data, size_t size) {
  constexpr size_t kHead = 3;
  std::vector<grpc::ByteBuffer> messages;
  absl::string_view rest(reinterpret_cast<const char*>(data), size);
  while (rest.size() >= kHead) {
    const size_t wanted = static_cast<uint8_t>(rest[0]) | static_cast<uint8_t>(rest[1]) << 8;
    const size_t piece = static_cast<uint8_t>(rest[2]);
    rest.remove_prefix(kHead);
    const size_t length = std::min(wanted, rest.size());
    messages.push_back(Cut(rest.substr(0, length), piece));
    rest.remove_prefix(length);
  }
  return messages;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_FUZZ_MESSAGES_H_

// SPDX-License-Identifier: Apache-2.0

// The decoder of chunks, by which servers read pushes and clients read pulls. What protobuf's own
// parser accepts, it must read in the same way; what it accepts, its encoder must be able to write.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/transport/chunk_codec.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/messages.h"

namespace percentdelta {
namespace {

std::string Joined(const Chunk& chunk) {
  std::string bytes;
  for (const absl::string_view piece : chunk.pieces) bytes.append(piece.data(), piece.size());
  return bytes;
}

void CompareWithProtobuf(absl::string_view bytes, const Chunk& chunk) {
  v1::PushRequest message;
  FUZZ_CHECK(message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  FUZZ_CHECK(message.tensor() == chunk.tensor && message.begin() == chunk.begin);
  FUZZ_CHECK(message.shared_values() == chunk.shared_values);
  FUZZ_CHECK(message.has_header() == chunk.header.has_value());
  if (chunk.header) {
    FUZZ_CHECK(message.header().SerializeAsString() == chunk.header->SerializeAsString());
  }
}

void EncodeAgain(const Chunk& chunk) {
  const std::string bytes = Joined(chunk);
  FUZZ_CHECK(static_cast<int64_t>(bytes.size()) == chunk.bytes);
  if (bytes.size() < sizeof(float)) return;
  const auto values = std::make_shared<std::vector<float>>(bytes.size() / sizeof(float));
  std::memcpy(values->data(), bytes.data(), values->size() * sizeof(float));
  Chunk again;
  FUZZ_CHECK(DecodeChunk(EncodeChunk(chunk.tensor, chunk.begin, *values, values), again));
  FUZZ_CHECK(again.tensor == chunk.tensor && again.begin == chunk.begin);
  FUZZ_CHECK(Joined(again) == bytes.substr(0, values->size() * sizeof(float)));
}

}  // namespace
}  // namespace percentdelta

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const grpc::ByteBuffer message = Cut(bytes, data[0]);
  Chunk chunk;
  const bool decoded = DecodeChunk(message, chunk);
  v1::PushRequest parsed;
  const bool accepted = parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  FUZZ_CHECK(decoded || !accepted);
  if (accepted) CompareWithProtobuf(bytes, chunk);
  if (decoded) EncodeAgain(chunk);
  return 0;
}

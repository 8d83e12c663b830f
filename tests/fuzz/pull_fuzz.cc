// SPDX-License-Identifier: Apache-2.0

// A client's request of a Pull: a first byte that says when the client stops to read, then the
// message. What the handler writes must be chunks.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/transport/chunk_codec.h"
#include "server/rpc/pull.h"
#include "tests/fuzz/calls.h"
#include "tests/fuzz/messages.h"
#include "tests/fuzz/small_shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  if (size == 0) return 0;
  static const SmallShard* const kSmall = new SmallShard;  // a pull changes nothing
  const absl::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  CallLimiter limiter(LimiterOptions());
  FakeWriter<grpc::ByteBuffer> call(StartPull(kSmall->shard(), limiter, FuzzPeer(), Cut(bytes, 0)));
  for (int reads = data[0]; reads > 0 && call.written() != nullptr; --reads) {
    Chunk chunk;
    FUZZ_CHECK(DecodeChunk(*call.written(), chunk));
    FUZZ_CHECK(!chunk.tensor.empty() && (chunk.bytes > 0 || chunk.shared_values > 0));
    call.Written(true);
  }
  if (call.written() != nullptr) call.Written(false);
  call.End();
  FUZZ_CHECK(limiter.count(CallKind::kPull) == 0);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0

// A client's messages of a Push, into the handler and through it into a shard.

#include <cstddef>
#include <cstdint>

#include "server/rpc/push.h"
#include "tests/fuzz/calls.h"
#include "tests/fuzz/messages.h"
#include "tests/fuzz/small_shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  const SmallShard small;
  CallLimiter limiter(LimiterOptions());
  grpc::ByteBuffer response;
  FakeReader<grpc::ByteBuffer> call(StartPush(small.shard(), limiter, FuzzPeer(), &response));
  for (const grpc::ByteBuffer& message : MessagesOf(data, size)) {
    if (!call.Deliver(&message)) break;
  }
  call.Deliver(nullptr);
  call.End();
  FUZZ_CHECK(limiter.count(CallKind::kPush) == 0);
  return 0;
}

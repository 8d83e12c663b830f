// SPDX-License-Identifier: Apache-2.0

// Pushes the gradient of one slot to all shards, each tensor as soon as it has been computed.

#ifndef PERCENTDELTA_CLIENT_PUSH_H_
#define PERCENTDELTA_CLIENT_PUSH_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/shard_channels.h"
#include "common/base/trace.h"

namespace percentdelta {

// Identifies a gradient.
struct GradientSlot {
  int64_t step = 0;
  int32_t slot = 0;
  bool checkpoint = false;  // Lease::checkpoint
};

// Thread-safe. The constructor starts one stream per shard; the destructor cancels those that still
// run. `channels` must outlive the push. A tensor of `gradient` must not change once it is ready:
// its values are sent without a copy, and gRPC, which shares the ownership of `gradient`, may hold
// them longer than the push lives. Shards that accept the channels' shared memory get them there.
class GradientPush {
 public:
  GradientPush(const ShardChannels& channels, const GradientSlot& slot, absl::Duration deadline,
               std::shared_ptr<const std::vector<std::vector<float>>> gradient, Tracer tracer = {});
  ~GradientPush();

  // Declares the tensor's values final and starts to send them. Must be called once per tensor.
  void Ready(int tensor);

  // Cancels the streams: Finish returns kCancelled unless the shards had accepted everything
  // before.
  void Cancel();

  // Waits until every shard has accepted all of its slices. All tensors must be ready.
  //   kFailedPrecondition  the shard is at another step or in another generation
  //   kUnavailable, kDeadlineExceeded, kCancelled  the connection failed: it is safe to push again
  //   others               the shard refuses the gradient; the message names tensor and reason
  absl::Status Finish();

 private:
  class Stream;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PUSH_H_

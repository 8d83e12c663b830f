// Pushes the gradient of one slot to all shards, each tensor as soon as it is made.

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

// Whose gradient it is.
struct GradientSlot {
  int64_t step = 0;
  int32_t slot = 0;
  bool checkpoint = false;  // as in the lease
};

// Thread-safe. One stream a shard, begun by the constructor; the destructor ends those that still
// run. `channels` must outlive the push. A tensor of `gradient` must not change once it is ready:
// its values are sent from where they are, and gRPC may hold them, as an owner of `gradient`,
// longer than the push lives. To shards that have taken the channels' memory they go through that.
class GradientPush {
 public:
  GradientPush(const ShardChannels& channels, const GradientSlot& slot, absl::Duration deadline,
               std::shared_ptr<const std::vector<std::vector<float>>> gradient, Tracer tracer = {});
  ~GradientPush();

  // Says that the tensor's values are final: they are sent from now on. Once a tensor.
  void Ready(int tensor);

  // Ends the streams: Finish returns, with kCancelled unless all was taken before.
  void Cancel();

  // Waits until every shard has taken all of its slices. All tensors must be ready.
  //   kFailedPrecondition  the shard is not at the step, or the generation is another
  //   kUnavailable, kDeadlineExceeded, kCancelled  of the connection: push again, no harm is done
  //   others               the shard refuses the gradient; the message names tensor and reason
  absl::Status Finish();

 private:
  class Stream;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PUSH_H_

// SPDX-License-Identifier: Apache-2.0

// Pulls the weights of one step from all shards, each tensor as soon as it is available.

#ifndef PERCENTDELTA_CLIENT_PULL_H_
#define PERCENTDELTA_CLIENT_PULL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/shard_channels.h"
#include "common/base/trace.h"

namespace percentdelta {

// Thread-safe. The constructor starts one stream per shard; the destructor cancels those that still
// run. `channels` and `weights` must outlive the pull, and the caller must not access a tensor of
// `weights` before AwaitTensor has returned kOk for it. Offers the channels' shared memory to
// shards that may be on this machine.
class WeightPull {
 public:
  // Resizes `weights` to the model, and pulls into it.
  WeightPull(const ShardChannels& channels, int64_t step, absl::Duration deadline,
             std::vector<std::vector<float>>& weights, Tracer tracer = {});
  ~WeightPull();

  // Waits until the tensor is complete. Returns the first error of any stream:
  //   kFailedPrecondition  the shard has discarded the step, or is in another generation
  //   kUnavailable, kDeadlineExceeded, kCancelled  the connection failed; the message names the
  //   shard kDataLoss            a shard sent something other than its slices
  absl::Status AwaitTensor(int tensor);

  // Waits until all streams have ended, and returns the first error.
  absl::Status AwaitAll();

  // Returns whether a stream has ended with an error.
  bool failed() const;

  // Cancels the streams; waiting calls return kCancelled.
  void Cancel();

 private:
  class Stream;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PULL_H_

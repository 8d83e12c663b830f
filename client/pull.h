// Pulls the weights of one step from all shards, each tensor as soon as it is there.

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

// Thread-safe. One stream a shard, begun by the constructor; the destructor ends those that still
// run. `channels` and `weights` must outlive the pull, and nobody else may touch the tensors of
// `weights` that have not been awaited. Shards on this machine are offered the channels' memory.
class WeightPull {
 public:
  // Into `weights`, resized to the model; a tensor is whole when AwaitTensor has returned kOk.
  WeightPull(const ShardChannels& channels, int64_t step, absl::Duration deadline,
             std::vector<std::vector<float>>& weights, Tracer tracer = {});
  ~WeightPull();

  // Waits until the tensor is whole. Errors are the first that any stream had:
  //   kFailedPrecondition  the step is gone, or the generation is another
  //   kUnavailable, kDeadlineExceeded, kCancelled  of the connection; the message names the shard
  //   kDataLoss            a shard sent something that is not its slices
  absl::Status AwaitTensor(int tensor);

  // Waits until all streams have ended.
  absl::Status AwaitAll();

  // Whether a stream has ended with an error.
  bool failed() const;

  // Ends the streams; what waits gets kCancelled.
  void Cancel();

 private:
  class Stream;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PULL_H_

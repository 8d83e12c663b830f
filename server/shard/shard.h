// SPDX-License-Identifier: Apache-2.0

// A shard through the generations of its cluster: which ShardState is the current one.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_H_

#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/shard/shard_counters.h"
#include "server/shard/shard_state.h"

namespace percentdelta {

// Thread-safe.
class Shard {
 public:
  // Returns the state of the generation that a call names.
  //   kUnavailable         no generation is open yet, or the call names one that this shard is
  //   about
  //                        to enter: try again
  //   kFailedPrecondition  an older generation
  absl::StatusOr<std::shared_ptr<ShardState>> At(uint64_t generation) const;

  // The open generation; 0: none.
  uint64_t generation() const;

  // The current state; null: none is open.
  std::shared_ptr<ShardState> state() const;

  // Of all generations. Constant pointer, to be given to each state.
  const std::shared_ptr<ShardCounters>& counters() const { return counters_; }

  // Makes `state` the current one and ends everything that waits in the previous one.
  void Open(std::shared_ptr<ShardState> state);

  // Ends everything that waits, and refuses all later calls.
  void Close();

 private:
  const std::shared_ptr<ShardCounters> counters_ = std::make_shared<ShardCounters>();

  mutable absl::Mutex mutex_;
  std::shared_ptr<ShardState> state_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_H_

// SPDX-License-Identifier: Apache-2.0

// The slices of a shard on their way into a checkpoint: each reaches the checkpoint's step in its
// own time.

#ifndef PERCENTDELTA_SERVER_SHARD_CHECKPOINT_ASSEMBLY_H_
#define PERCENTDELTA_SERVER_SHARD_CHECKPOINT_ASSEMBLY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/checkpoint/slice_content.h"

namespace percentdelta {

// Thread-safe.
class CheckpointAssembly {
 public:
  // Of a shard in `generation`.
  explicit CheckpointAssembly(uint64_t generation) : generation_(generation) {}

  // Takes a slice's content at `step`. Returns the shard's, sorted by tensor, when this was the
  // last of its `slices`.
  std::optional<ShardContent> Add(int64_t step, SliceContent content, size_t slices);

 private:
  const uint64_t generation_;

  absl::Mutex mutex_;
  std::map<int64_t, ShardContent> incomplete_ ABSL_GUARDED_BY(mutex_);  // by step
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_CHECKPOINT_ASSEMBLY_H_

// SPDX-License-Identifier: Apache-2.0

// The receiving end of a push: checks the chunks of one stream and puts them together, one buffer
// a slice. A slice is staged when it is whole; before that nothing of it is visible.

#ifndef PERCENTDELTA_SERVER_SHARD_GRADIENT_ASSEMBLY_H_
#define PERCENTDELTA_SERVER_SHARD_GRADIENT_ASSEMBLY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/shard/buffer_pool.h"
#include "server/shard/shard_state.h"

namespace percentdelta {

// Not thread-safe: the chunks of a stream come one after the other.
class GradientAssembly {
 public:
  // The slot must have passed state->CheckSlot(). `for_checkpoint`: see ShardSlice::Stage.
  GradientAssembly(std::shared_ptr<ShardState> state, int64_t step, int32_t slot,
                   bool for_checkpoint = false);

  // Takes a chunk: little-endian float32 values of `tensor` from the entry `begin` on, in pieces
  // that follow each other and may be cut anywhere. Within a slice chunks must come in ascending
  // order without gaps.
  //   kNotFound            no such tensor, or no slice of it here
  //   kInvalidArgument     wrong length, overlap, gap, beyond the slice, NaN or infinity
  //   kFailedPrecondition  a step that the shard has not reached
  // After an error the caller must end the stream; slices that were whole stay staged.
  absl::Status Add(absl::string_view tensor, int64_t begin,
                   absl::Span<const absl::string_view> pieces);

  // Checks, at the end of the stream, that every slice is complete, by this stream or before.
  // kInvalidArgument: a range is missing.
  absl::Status Finish() const;

  // Bytes of the slices that are not complete yet.
  int64_t buffered_bytes() const { return buffered_bytes_; }

  // The number of slices that this stream completed: new ones, and those that were there before.
  int staged_slices() const { return staged_slices_; }
  int duplicate_slices() const { return duplicate_slices_; }

 private:
  struct Part {
    ShardSlice* slice = nullptr;
    Buffer gradient;       // null before the first chunk, of a duplicate, and when staged
    int64_t received = 0;  // entries
    bool duplicate = false;
    AsyncSpan span = {};
  };

  absl::Status CheckChunk(const Part& part, absl::string_view tensor, int64_t begin,
                          size_t bytes) const;

  const std::shared_ptr<ShardState> state_;
  const int64_t step_;
  const int32_t slot_;
  const bool for_checkpoint_;
  std::vector<Part> parts_;  // as state_->slices()
  int staged_slices_ = 0;
  int duplicate_slices_ = 0;
  int64_t buffered_bytes_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_GRADIENT_ASSEMBLY_H_

// SPDX-License-Identifier: Apache-2.0

// What a shard holds between two steps: what it writes to a checkpoint, and what it starts with.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_SLICE_CONTENT_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_SLICE_CONTENT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "common/job/partition.h"

namespace percentdelta {

struct SliceContent {
  TensorRange range;
  std::shared_ptr<const std::vector<float>> weights;
  std::vector<std::shared_ptr<std::vector<float>>> state;  // by StateNames; none is null
};

// All slices of a shard.
struct ShardContent {
  uint64_t generation = 0;
  int64_t step = 0;
  std::vector<SliceContent> slices;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_SLICE_CONTENT_H_

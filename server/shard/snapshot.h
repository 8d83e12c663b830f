// SPDX-License-Identifier: Apache-2.0

// A slice's weights at a step, and those who wait for them.

#ifndef PERCENTDELTA_SERVER_SHARD_SNAPSHOT_H_
#define PERCENTDELTA_SERVER_SHARD_SNAPSHOT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/job/partition.h"

namespace percentdelta {

// Published weights: the values never change.
struct Snapshot {
  TensorRange range;
  int64_t step = 0;
  std::shared_ptr<const std::vector<float>> values;
};

// A pull, as the slices see it. Thread-safe; called under no lock, and must not block.
class PullSink {
 public:
  virtual ~PullSink() = default;
  virtual void Deliver(Snapshot snapshot) = 0;

  // Says that no more snapshots will come, and why.
  virtual void End(absl::Status reason) = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SNAPSHOT_H_

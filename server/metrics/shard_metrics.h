// SPDX-License-Identifier: Apache-2.0

// The metrics of a server: its shard, its calls, its checkpoint files, its queues.

#ifndef PERCENTDELTA_SERVER_METRICS_SHARD_METRICS_H_
#define PERCENTDELTA_SERVER_METRICS_SHARD_METRICS_H_

#include <prometheus/collectable.h>

#include <string>
#include <utility>
#include <vector>

#include "common/base/thread_pool.h"
#include "server/checkpoint/checkpoint_writer.h"
#include "server/rpc/call_limiter.h"
#include "server/shard/shard.h"

namespace percentdelta {

// Thread-safe.
class ShardMetrics : public prometheus::Collectable {
 public:
  // What it reads; all must outlive it.
  struct Sources {
    int index = 0;  // of the shard
    const Shard* shard = nullptr;
    const ThreadPool* pool = nullptr;
    const CallLimiter* limiter = nullptr;
    const CheckpointWriter* writer = nullptr;  // null: the job has no checkpoints
    std::string checkpoint_directory = {};     // empty: the job has no checkpoints
  };

  explicit ShardMetrics(Sources sources) : sources_(std::move(sources)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Sources sources_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_METRICS_SHARD_METRICS_H_

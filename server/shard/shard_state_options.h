// SPDX-License-Identifier: Apache-2.0

// What a ShardState (shard_state.h) is made from.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_STATE_OPTIONS_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_STATE_OPTIONS_H_

#include <cstdint>
#include <memory>

#include "common/base/fault_point.h"
#include "common/base/thread_pool.h"
#include "common/base/trace.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_writer.h"
#include "server/checkpoint/slice_content.h"
#include "server/shard/shard_coordinator.h"
#include "server/shard/shard_counters.h"
#include "server/shard/shard_peers.h"

namespace percentdelta {

struct ShardStateOptions {
  Job job;
  int shard = 0;
  int shards = 1;
  uint64_t generation = 0;

  // Computes the updates; outlives the state.
  ThreadPool* pool = nullptr;

  // The other shards of the generation. Needed with more than one shard.
  std::shared_ptr<ShardPeers> peers;

  // Gets the statistics and learns what has been gathered, under no lock of the state. Outlives
  // the state. Null in tests that need none.
  ShardCoordinator* coordinator = nullptr;

  // The coordinator gets histograms of the steps that are multiples of it. 0: of none.
  int64_t histogram_steps = 0;

  // Takes the shard's content at each step that is to become a checkpoint. Outlives the state.
  // Null: the job has no checkpoints.
  CheckpointWriter* checkpoint_writer = nullptr;

  // This shard's slices at the generation's first step, in the partition's order. Without slices:
  // step 0 with the job's initial weights.
  ShardContent initial;

  // The shard's, for metrics.
  std::shared_ptr<ShardCounters> counters = std::make_shared<ShardCounters>();

  FaultPoints faults;
  Tracer tracer;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_STATE_OPTIONS_H_

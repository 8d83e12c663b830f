// SPDX-License-Identifier: Apache-2.0

// Heartbeats: the messages between a shard and the coordinator, about once a second.

#ifndef PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_H_
#define PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace percentdelta {

// A file as a manifest lists it.
struct FileEntry {
  std::string name;  // within the checkpoint's directory
  int64_t bytes = 0;
  std::string sha256;  // hexadecimal
};

// A shard's report of its part of a checkpoint.
struct CheckpointPart {
  int64_t step = 0;
  FileEntry file;
  std::string error;  // not empty: why the part could not be written
};

// What a shard's process has used since it started.
struct ShardLoad {
  int64_t resident_bytes = 0;  // of the whole process, now
  double cpu_seconds = 0;      // of the whole process
  int64_t bytes_received = 0;  // values of gradients, over connections
  int64_t bytes_sent = 0;      // values of weights, over connections
  int64_t shared_bytes = 0;    // values of both, through shared memory
};

// A shard's heartbeat.
struct ShardBeat {
  int32_t shard = 0;
  int32_t shard_count = 0;
  std::string job_hash;
  std::string address;                     // at which others reach the shard
  uint64_t incarnation = 0;                // random, different for every process, not 0
  uint64_t generation = 0;                 // that the shard has open; 0: none
  std::vector<CheckpointPart> parts = {};  // parts of checkpoints that it has written
  // Why the shard cannot enter the generation, or which shard it cannot reach. Empty: no problem.
  std::string problem = {};
  int64_t gathered_steps = 0;               // it has all gradients of steps below this one
  std::vector<int32_t> missing_slots = {};  // of step `gathered_steps`
  std::optional<ShardLoad> load = {};       // for people: nullopt if the shard does not report it
};

// The coordinator's answer: the open generation and its shards. Generation 0: still gathering.
struct ClusterView {
  uint64_t generation = 0;
  std::vector<std::string> addresses;
  std::vector<int32_t> missing;  // shards that have not registered

  // Where the generation starts: a checkpoint, or (empty) the job's initial weights.
  std::string checkpoint;
  int64_t step = 0;

  // Why the sender is not registered yet (generation 0). Empty: no reason is known.
  std::string message = {};

  bool drained = false;  // the cluster has been drained: the sender must end

  // Shards report histograms of the steps that are multiples of it. 0: of none.
  int64_t histogram_steps = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_H_

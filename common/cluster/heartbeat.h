// What a shard and the coordinator tell each other about once a second.

#ifndef PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_H_
#define PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace percentdelta {

// A file as a manifest lists it.
struct FileEntry {
  std::string name;  // within the checkpoint's directory
  int64_t bytes = 0;
  std::string sha256;  // hexadecimal
};

// What a shard says of its part of a checkpoint.
struct CheckpointPart {
  int64_t step = 0;
  FileEntry file;
  std::string error;  // not empty: it could not be written, and why
};

// What a shard says of itself, about once a second.
struct ShardBeat {
  int32_t shard = 0;
  int32_t shard_count = 0;
  std::string job_hash;
  std::string address;                     // where the others reach it
  uint64_t incarnation = 0;                // drawn anew by every process, not 0
  uint64_t generation = 0;                 // what it has open; 0: nothing
  std::vector<CheckpointPart> parts = {};  // of checkpoints, that it has written
  // Why it cannot enter the generation, or which shard it cannot reach. Empty: neither.
  std::string problem = {};
  int64_t gathered_steps = 0;               // it has all gradients of the steps below
  std::vector<int32_t> missing_slots = {};  // of step `gathered_steps`, that it lacks
};

// Which generation is open, and where its shards are. Generation 0: still gathering.
struct ClusterView {
  uint64_t generation = 0;
  std::vector<std::string> addresses;
  std::vector<int32_t> missing;

  // What the generation begins with: a checkpoint, or (empty) the job's initial weights.
  std::string checkpoint;
  int64_t step = 0;

  // Why the shard that beats is not registered yet (generation 0). Empty: no reason is known.
  std::string message = {};
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_HEARTBEAT_H_

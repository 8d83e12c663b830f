// SPDX-License-Identifier: Apache-2.0

// A shard's membership of the cluster: sends heartbeats to the coordinator, and enters each
// generation that the coordinator opens.

#ifndef PERCENTDELTA_SERVER_SHARD_CLUSTER_LINK_H_
#define PERCENTDELTA_SERVER_SHARD_CLUSTER_LINK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/base/pause.h"
#include "common/cluster/heartbeat.h"
#include "server/checkpoint/checkpoint_writer.h"
#include "server/shard/shard.h"
#include "server/shard/shard_coordinator.h"

namespace percentdelta {

// The process that a link acts for. Only the link's thread calls it.
class ClusterMember {
 public:
  virtual ~ClusterMember() = default;

  // Enters a new generation; called before the next heartbeat. The link reports an error to the
  // coordinator, and calls again after the next heartbeat.
  virtual absl::Status Enter(const ClusterView& view) = 0;

  // Why another shard of the generation cannot be reached, in one sentence. Empty: no such error is
  // known.
  virtual std::string connection_error() const = 0;
};

// Thread-safe. A thread of its own sends the heartbeats.
class ClusterLink {
 public:
  struct Options {
    // The constant part of each heartbeat.
    ShardBeat self;

    // All must outlive the link.
    ShardCoordinator* coordinator = nullptr;
    ClusterMember* member = nullptr;
    const Shard* shard = nullptr;
    CheckpointWriter* checkpoint_writer = nullptr;  // null: the job has no checkpoints

    absl::Duration interval;          // between heartbeats; a tenth of it while shards are missing
    std::string coordinator_address;  // for messages
    Logger log;
  };

  explicit ClusterLink(Options options);
  ~ClusterLink();  // Stop()

  // Starts to send heartbeats. Must be called once.
  void Start();

  // Sends the next heartbeat at once.
  void Wake();

  // Waits until Stop (kOk), until the coordinator has drained the cluster (kOk), or until it has
  // refused this shard for good.
  absl::Status Wait() const;

  // Stops the heartbeats and joins the thread.
  void Stop();

 private:
  void Run();
  ShardBeat MakeBeat(uint64_t generation) const;

  // Sends a heartbeat, and a second one to confirm when the first led into a new generation.
  // Returns false if the coordinator has refused this shard or drained the cluster.
  bool BeatOnce(uint64_t& generation);
  void HandleError(const absl::Status& status);
  void LogMissing(const ClusterView& view);
  // Whether the event is another one than the last.
  bool IsNew(std::string event);

  const Options options_;
  std::string last_event_;   // used by the thread: logs one line per change, not per heartbeat
  std::string enter_error_;  // used by the thread: why it could not enter the generation
  Pause pause_;              // self-synchronised: between two heartbeats

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mutex_);  // by the coordinator

  std::thread thread_;  // last member: uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_CLUSTER_LINK_H_

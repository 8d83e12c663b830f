// A shard's place in the cluster: tells the coordinator that it lives, and enters each generation
// that the coordinator opens.

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

// The process that a link acts for. The link's thread calls it, one call at a time.
class ClusterMember {
 public:
  virtual ~ClusterMember() = default;

  // Enters a new generation, before the next beat. An error is reported to the coordinator, and
  // entering is tried again with the next beat.
  virtual absl::Status Enter(const ClusterView& view) = 0;

  // Why another shard of the generation cannot be reached, in one sentence; empty if all can, as
  // far as is known.
  virtual std::string connection_error() const = 0;
};

// Thread-safe. Heartbeats come from one thread of its own.
class ClusterLink {
 public:
  struct Options {
    // Constant parts of each beat.
    ShardBeat self;

    // All outlive the link.
    ShardCoordinator* coordinator = nullptr;
    ClusterMember* member = nullptr;
    const Shard* shard = nullptr;
    CheckpointWriter* checkpoint_writer = nullptr;  // null: the job has no checkpoints

    absl::Duration interval;
    std::string coordinator_address;  // for messages
    Logger log;
  };

  explicit ClusterLink(Options options);
  ~ClusterLink();  // Stop()

  // Begins to beat. To be called once.
  void Start();

  // Lets the next beat come at once.
  void Wake();

  // Waits until Stop (kOk) or until the coordinator has refused this shard for good.
  absl::Status Wait() const;

  // Ends the beating and joins the thread.
  void Stop();

 private:
  void Run();
  ShardBeat MakeBeat(uint64_t generation) const;

  // One beat, and a second one to say so when it has led into a new generation. False: there is no
  // going on.
  bool BeatOnce(uint64_t& generation);
  void SayWhatIsAwaited(const ClusterView& view);
  void Say(const std::string& event);

  const Options options_;
  std::string last_said_;    // of the thread: one line for each change, not one for each beat
  std::string enter_error_;  // of the thread: why it could not enter the generation
  Pause pause_;              // self-synchronised: between two beats

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> refused_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_CLUSTER_LINK_H_

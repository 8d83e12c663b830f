// A shard's place in the cluster: tells the coordinator that it lives, and enters each generation
// that the coordinator opens.

#ifndef PERCENTDELTA_SERVER_SHARD_CLUSTER_LINK_H_
#define PERCENTDELTA_SERVER_SHARD_CLUSTER_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/base/pause.h"
#include "common/cluster/heartbeat.h"

namespace percentdelta {

// Thread-safe. One thread of its own beats; `enter` runs on it.
class ClusterLink {
 public:
  struct Options {
    ShardBeat self;

    // How to reach the coordinator; blocks. kFailedPrecondition, kAlreadyExists and
    // kInvalidArgument are the coordinator's refusals, for good; any other error passes.
    std::function<absl::StatusOr<ClusterView>(const ShardBeat& beat)> beat;

    // Called for each new generation, before the next beat. An error is told to the coordinator,
    // and entering is tried again with the next beat.
    std::function<absl::Status(const ClusterView& view)> enter;

    // Fills in what the shard has gathered of `beat.generation`. May be empty.
    std::function<void(ShardBeat& beat)> describe;
    // Why another shard cannot be reached, for the coordinator; empty: all can. May be empty
    // itself.
    std::function<std::string()> trouble;

    // What the beats are to tell of checkpoints, and how much of it has been heard. May be empty.
    std::function<std::vector<CheckpointPart>()> parts;
    std::function<void(size_t count)> heard;

    absl::Duration interval;
    std::string coordinator;  // for messages
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

  // One beat, and a second one to say so when it has led into a new generation. False: there is no
  // going on.
  bool BeatOnce(uint64_t& generation);
  void SayWhatIsAwaited(const ClusterView& view);
  void Say(const std::string& event);

  const Options options_;
  std::string last_said_;  // of the thread: one line for each change, not one for each beat
  std::string trouble_;    // of the thread: why it could not enter
  Pause pause_;            // self-synchronised: between two beats

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> refused_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_CLUSTER_LINK_H_

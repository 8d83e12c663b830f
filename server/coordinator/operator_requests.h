// SPDX-License-Identifier: Apache-2.0

// What operators have asked of a training: a pause, or a drain. A state machine without locks,
// clocks or I/O; time is an argument.
//
// A drain ends the cluster in this order: its checkpoint becomes complete, the workers learn it
// with their next lease, then the shards with their next heartbeat, and last the coordinator's own.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_OPERATOR_REQUESTS_H_
#define PERCENTDELTA_SERVER_COORDINATOR_OPERATOR_REQUESTS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"

namespace percentdelta {

// Not thread-safe.
class OperatorRequests {
 public:
  // How long a drained coordinator waits for workers and shards that have not learned it.
  static constexpr absl::Duration kLinger = absl::Seconds(30);
  // How long it stays after the last of them: for operators who ask for the result, and for a shard
  // that did not receive the answer to its heartbeat.
  static constexpr absl::Duration kLastWords = absl::Milliseconds(1500);

  OperatorRequests(int shard_count, int64_t max_steps)
      : shard_count_(shard_count), max_steps_(max_steps) {}

  void SetPaused(bool paused) { paused_ = paused; }
  bool paused() const { return paused_; }

  // Starts a drain, if none is in progress; abandons one whose checkpoint is not complete.
  void BeginDrain();
  void AbandonDrain();
  bool draining() const { return drain_ == Drain::kBegun; }
  bool drained() const { return drain_ == Drain::kComplete; }

  // The drain's checkpoint is of `step`. No effect if it has one already, or without a drain.
  void SetDrainStep(int64_t step);
  // A generation has opened: the checkpoint that was in progress is lost.
  void ForgetDrainStep();
  std::optional<int64_t> drain_step() const { return drain_step_; }

  // During a drain, only work of steps below this one may be given out.
  int64_t work_below() const;

  // The drain's checkpoint is complete. Ends a pause.
  void CompleteDrain(absl::Duration now);

  // A worker asks for work, or learns that there will be none. A drain does not wait for it then.
  void WorkerCame(const std::string& worker) { told_workers_.erase(worker); }
  void TellWorker(const std::string& worker);
  const std::set<std::string>& told_workers() const { return told_workers_; }
  // For a drain that is complete: a shard other than 0 learns it.
  void TellShard(int32_t shard, absl::Duration now);

  // Whether shards, and the coordinator itself, may end. `workers_left`: some worker has not been
  // told.
  bool ShardsMayEnd(bool workers_left, absl::Duration now) const;
  bool CoordinatorMayEnd(bool workers_left, absl::Duration now) const;

 private:
  enum class Drain { kNone, kBegun, kComplete };

  const int shard_count_;
  const int64_t max_steps_;
  bool paused_ = false;
  Drain drain_ = Drain::kNone;
  std::optional<int64_t> drain_step_;
  absl::Duration complete_at_;
  absl::Duration last_told_at_;  // of the shards; complete_at_ if none was
  std::set<std::string> told_workers_;
  std::set<int32_t> told_shards_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_OPERATOR_REQUESTS_H_

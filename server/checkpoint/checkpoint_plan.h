// SPDX-License-Identifier: Apache-2.0

// Which steps become checkpoints, and how far those in progress are. A state machine without locks,
// clocks or I/O.
//
// Only the coordinator decides: before the first lease of a step it calls StartIfDue() for the step
// that this one leads to. The answer travels with the leases and the pushes to every slice, so that
// all of them snapshot the same step without waiting for each other.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_PLAN_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_PLAN_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/cluster/heartbeat.h"
#include "common/job/job.h"

namespace percentdelta {

// Not thread-safe.
class CheckpointPlan {
 public:
  // `job` must outlive the plan. A job without checkpoints never starts one.
  CheckpointPlan(const Job& job, int shards);

  // Starts a generation at `step`, which is a complete checkpoint if `restored`. Abandons what is
  // in progress.
  void Begin(int64_t step, bool restored);

  // Starts the checkpoint of `step` if one is due or requested and none is in progress; that of the
  // job's last step always. Returns whether it did. To be called once for each step, in ascending
  // order.
  bool StartIfDue(int64_t step);

  // Requests a checkpoint at the next step that StartIfDue() is called for.
  void Request() { requested_ = true; }

  // Takes a shard's part; repeated ones have no effect. A part with an error fails the checkpoint,
  // as End() does.
  void AddPart(int shard, const CheckpointPart& part);

  // The oldest checkpoint all of whose parts are written; the files by shard.
  struct Parts {
    int64_t step = 0;
    std::vector<FileEntry> files;
  };
  std::optional<Parts> FindComplete() const;

  // Ends the checkpoint of a step, if it is in progress. A failure does not end the job's last one:
  // there is no next one, so its parts are retried.
  void End(int64_t step, const absl::Status& result);

  bool in_progress() const { return !pending_.empty(); }
  bool in_progress(int64_t step) const { return pending_.contains(step); }

  // The step of the newest checkpoint in progress; -1: none is.
  int64_t newest_in_progress() const { return pending_.empty() ? -1 : pending_.rbegin()->first; }

  int64_t newest() const { return newest_; }      // step of the newest complete one; -1: none
  int64_t failures() const { return failures_; }  // since the process started

  // Checkpoints that were due while another was in progress, because the disk is slow; since the
  // process started.
  int64_t skipped() const { return skipped_; }
  const std::string& error() const { return error_; }  // of the last one; empty: it succeeded

 private:
  using Files = std::map<int, FileEntry>;  // by shard

  const Job& job_;
  int writers_ = 0;                   // shards that own slices
  std::map<int64_t, Files> pending_;  // by step
  bool requested_ = false;
  int64_t newest_ = -1;
  int64_t failures_ = 0;
  int64_t skipped_ = 0;
  std::string error_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_PLAN_H_

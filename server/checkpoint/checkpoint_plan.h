// Which steps become checkpoints, and how far those under way are. A state machine without locks,
// clocks or I/O.
//
// The coordinator alone decides: before the first lease of a step it asks Keeps() of the step that
// this one leads to. The answer travels with the leases and the pushes to every slice, so that all
// of them keep the same step, with nobody waiting for anybody.

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
  // `job` must outlive the plan. A job without checkpoints never keeps a step.
  CheckpointPlan(const Job& job, int shards);

  // A new generation begins at `step`: what was under way is given up. `complete`: that step is
  // a whole checkpoint.
  void Begin(int64_t step, bool complete);

  // Whether the weights of `step` are to be kept: when one is due or wanted and none is under way;
  // the job's last step always. To be asked once a step, in ascending order.
  bool Keeps(int64_t step);

  // Wants a checkpoint at the next step that Keeps() is asked of.
  void Request() { requested_ = true; }

  // Takes a shard's part; repeated ones change nothing. One that failed fails the checkpoint: see
  // End.
  void AddPart(int shard, const CheckpointPart& part);

  // The oldest checkpoint whose parts are all there, by shard.
  struct Parts {
    int64_t step = 0;
    std::vector<FileEntry> files;
  };
  std::optional<Parts> Whole() const;

  // Ends the checkpoint of a step, if it is under way. The job's last one does not end by a
  // failure: there is no next one, so that its parts are tried again.
  void End(int64_t step, const absl::Status& result);

  bool under_way() const { return !pending_.empty(); }

  int64_t newest() const { return newest_; }      // the newest complete step; -1: none
  int64_t failures() const { return failures_; }  // since the process began

  // That were due while another was under way, since the process began: the disk is slow.
  int64_t skipped() const { return skipped_; }
  const std::string& error() const { return error_; }  // of the last one; empty: it succeeded

 private:
  using Files = std::map<int, FileEntry>;  // by shard

  const Job& job_;
  int writers_ = 0;                   // shards that own something
  std::map<int64_t, Files> pending_;  // by step
  bool requested_ = false;
  int64_t newest_ = -1;
  int64_t failures_ = 0;
  int64_t skipped_ = 0;
  std::string error_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_PLAN_H_

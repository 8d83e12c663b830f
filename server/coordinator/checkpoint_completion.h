// SPDX-License-Identifier: Apache-2.0

// From a shard's part to a complete checkpoint.
//
// The plan decides before the first lease of a step whether the weights that it leads to become a
// checkpoint. The shards write their parts and report them in their heartbeats. A checkpoint is
// ready when all parts are written and all that is to be known of the steps before it (statistics,
// histograms, evaluations) is known. Then the history and the manifest are written
// (CheckpointStore::Complete, which also checks that the coordinator sees each shard's file); with
// the manifest it is complete.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_CHECKPOINT_COMPLETION_H_
#define PERCENTDELTA_SERVER_COORDINATOR_CHECKPOINT_COMPLETION_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/cluster/heartbeat.h"
#include "common/cluster/progress.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_plan.h"
#include "server/coordinator/histogram_ring.h"
#include "server/coordinator/lease_table.h"
#include "server/coordinator/statistics_ring.h"

namespace percentdelta {

// Not thread-safe. Does no I/O besides logging.
class CheckpointCompletion {
 public:
  // `job` must outlive the object.
  CheckpointCompletion(const Job& job, int shard_count, Logger log);

  // Starts a generation at `step`; abandons what is in progress. `restored`: from a checkpoint.
  void Begin(int64_t step, bool restored);

  // See CheckpointPlan.
  bool StartIfDue(int64_t step);
  void Request() { plan_.Request(); }
  bool in_progress(int64_t step) const { return plan_.in_progress(step); }
  int64_t newest_in_progress() const { return plan_.newest_in_progress(); }
  void AddParts(int shard, const std::vector<CheckpointPart>& parts);

  // The oldest checkpoint that is ready, if it is not to be retried later. Waits for the statistics
  // of the steps before it, and until their histograms are written, for 10 s at most: a checkpoint
  // can do without those that come later.
  std::optional<CheckpointPlan::Parts> FindReady(const LeaseTable& leases,
                                                 const StatisticsRing& statistics,
                                                 const HistogramRing& histograms,
                                                 absl::Duration now);

  // Records the result of CheckpointStore::Complete. The job's last checkpoint is retried after a
  // second if it failed.
  void End(int64_t step, const absl::Status& result, absl::Duration now);

  // Whether the workers of a training whose work is done have to stay until its last checkpoint is
  // complete: if a shard dies before that, they are needed again.
  bool holds_workers() const { return plan_.in_progress() && !last_abandoned_; }

  // To be called now and then once the training's work is done: lets the workers go if the last
  // checkpoint is not complete after 60 s, or 10 s if it has failed, though it is still retried.
  // Returns whether it did so now.
  bool LetWorkersGo(absl::Duration now);

  CheckpointProgress progress() const;

 private:
  const int64_t max_steps_;
  const Logger log_;
  CheckpointPlan plan_;
  std::optional<absl::Duration> reports_awaited_since_;
  std::optional<absl::Duration> last_awaited_since_;  // the job's last checkpoint
  bool last_abandoned_ = false;
  std::optional<absl::Duration> retry_at_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_CHECKPOINT_COMPLETION_H_

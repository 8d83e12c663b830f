// SPDX-License-Identifier: Apache-2.0

// The state of a cluster and its training, put together from membership, leases, workers, record
// and checkpoints. A state machine without locks, clocks or I/O besides logging; time is an
// argument.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_TRAINING_H_
#define PERCENTDELTA_SERVER_COORDINATOR_TRAINING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/cluster/activity.h"
#include "common/cluster/heartbeat.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/coordinator/activity_record.h"
#include "server/coordinator/checkpoint_completion.h"
#include "server/coordinator/histogram_ring.h"
#include "server/coordinator/lease_table.h"
#include "server/coordinator/membership.h"
#include "server/coordinator/operator_requests.h"
#include "server/coordinator/statistics_ring.h"
#include "server/coordinator/training_metrics.h"
#include "server/coordinator/training_record.h"
#include "server/coordinator/worker_compatibility.h"
#include "server/coordinator/worker_roster.h"

namespace percentdelta {

// Not thread-safe.
class Training {
 public:
  struct Options {
    int shard_count = 1;
    uint64_t first_generation = 1;
    absl::Duration lease_deadline = absl::ZeroDuration();  // see LeaseTable::Options
    int64_t history_steps = 1;                             // points retained of each curve
    int max_workers = WorkerRoster::kMaxWorkers;
    int max_lease_deadlines = LeaseTable::kMaxDeadlines;  // see LeaseTable::Options
    Logger log;
  };

  // `job` must outlive the object.
  Training(const Job& job, const std::string& job_hash, Options options);
  Training(const Training&) = delete;  // the lease table refers to other members
  Training& operator=(const Training&) = delete;

  Membership& membership() { return membership_; }
  const Membership& membership() const { return membership_; }

  // Opens the generation that membership() needs: number `at_least` or a greater one, with the
  // initial weights or what the checkpoint holds.
  void Open(uint64_t at_least, const std::optional<Checkpoint>& checkpoint, absl::Duration now);

  // kFailedPrecondition unless `generation` is open. With kOk, a generation is.
  absl::Status CheckGeneration(uint64_t generation) const;

  TrainingState state() const;

  // The current step; 0 before the first generation.
  int64_t step() const { return leases_ ? leases_->step() : 0; }

  // Why the training failed. Empty: it has not.
  std::string failure() const { return leases_ ? leases_->failure() : ""; }

  // Takes what a member's heartbeat says of its parts of checkpoints and of its gradients.
  void TakeBeat(const ShardBeat& beat, absl::Duration now);

  // A shard has all gradients of the steps below `steps`. A generation must be open.
  void TakeGathered(int32_t shard, int64_t steps, absl::Duration now);

  // Whether the worker may ask for work. Errors: of WorkerCompatibility::Check, and of
  // WorkerRoster::CheckRoom and CheckNotSuspended.
  absl::Status CheckWorker(const WorkerIdentity& worker, absl::Duration now);

  // Records a call of the worker.
  void SeeWorker(const WorkerIdentity& worker, absl::Duration now);

  // Whether shards have a gradient of the worker (worker_roster.h).
  bool IsProven(const std::string& worker) const { return roster_.IsProven(worker); }

  // Whether it was decided since the last call what workers must have in common, so that
  // CheckWorker() may refuse some that it did not refuse before.
  bool TakeDecision() { return compatibility_.TakeDecision(); }

  // A lease, the end of the training, or nothing if there is no work now for this worker.
  std::optional<Lease> NextLease(const std::string& worker, absl::Duration now);

  // Whether NextLease() depends on the worker.
  bool depends_on_worker() const { return leases_ && leases_->depends_on_worker(); }

  // Takes a result; restarts the deadline of a lease. Errors: of CheckGeneration and LeaseTable,
  // its CheckHolder included.
  absl::Status Complete(const LeaseResult& result, absl::Duration now);
  absl::StatusOr<absl::Duration> Renew(uint64_t generation, uint64_t lease_id,
                                       const std::string& worker, absl::Duration now);

  // Expires leases, and the wait for the last checkpoint; records what has happened since.
  void Tick(absl::Duration now);

  // See Coordinator::TakeCheckpoint.
  absl::StatusOr<int64_t> RequestCheckpoint();

  // See Coordinator::Pause, Resume and Drain.
  absl::Status Pause();
  absl::Status Resume();
  absl::StatusOr<int64_t> Drain(absl::Duration now);

  // Whether an operator has paused it. To be restored, once the first generation has opened.
  bool paused() const { return operators_.paused(); }
  void SetPaused(bool paused) { operators_.SetPaused(paused); }

  // Whether a drain is complete; then, whether a shard that beats may end. It does so once it was
  // told.
  bool drained() const { return operators_.drained(); }
  bool TellMayEnd(int32_t shard, absl::Duration now);

  // The checkpoint that is ready, as CheckpointStore::Complete takes it; the history is without the
  // statistics.
  struct ReadyCheckpoint {
    Manifest manifest;
    std::vector<FileEntry> files;
    History history;
    int64_t initial_step = 0;
  };
  std::optional<ReadyCheckpoint> FindReadyCheckpoint(const StatisticsRing& statistics,
                                                     const HistogramRing& histograms,
                                                     absl::Duration now);

  // The result of completing it.
  void EndCheckpoint(int64_t step, const absl::Status& result, absl::Duration now);

  // `opening_error`: why the generation that is needed could not be opened; may be empty.
  Progress GetProgress(int64_t from_step, int64_t last_step, const std::string& opening_error,
                       absl::Duration now) const;

  // For people: who does what now, and the events whose id is greater.
  ClusterActivity GetActivity(absl::Duration now) const;
  std::vector<ClusterEvent> EventsAfter(int64_t id) const { return activity_.EventsAfter(id); }
  // Cheap, whatever the length of the history.
  TrainingMetrics GetMetrics(absl::Duration now) const;

 private:
  std::string GatheringReason() const;
  std::string DelayReason(absl::Duration now) const;
  std::string OperatorMessage(absl::Duration now) const;
  bool WorkersLeft(absl::Duration now) const;
  Lease LastLease(const std::string& worker);
  void BeginDrain(absl::Duration now);
  void ContinueDrain(absl::Duration now);
  void LogEnd();
  void EndStep();
  void SeeAgain(const std::string& worker, absl::Duration now);
  void RecordActivity(absl::Duration now);

  const Job& job_;
  const std::string job_hash_;
  const Options options_;
  Membership membership_;
  WorkerRoster roster_;
  WorkerCompatibility compatibility_;
  std::optional<LeaseTable> leases_;  // of the current generation
  std::vector<int64_t> gathered_;     // steps, by shard; of the current generation
  TrainingRecord record_;
  CheckpointCompletion checkpoints_;
  ActivityRecord activity_;
  absl::Duration workers_checked_ = -absl::InfiniteDuration();
  bool end_recorded_ = false;
  OperatorRequests operators_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_TRAINING_H_

// SPDX-License-Identifier: Apache-2.0

// The coordinator: the cluster's training (training.h) under one lock, the calls that wait for
// work, and what is done on disk. Part of shard 0. Free of gRPC.
//
// Order of locks: mutex_, then the lock of statistics_ or of histograms_ (a generation opens; is a
// checkpoint ready?), then none. The locks of the clock and of the log are leaves. Under mutex_ the
// coordinator neither calls a callback or a statistics listener nor reads or writes a checkpoint.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_COORDINATOR_H_
#define PERCENTDELTA_SERVER_COORDINATOR_COORDINATOR_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/cluster/activity.h"
#include "common/cluster/histogram.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/coordinator/histogram_ring.h"
#include "server/coordinator/lease_waiters.h"
#include "server/coordinator/membership.h"
#include "server/coordinator/statistics_ring.h"
#include "server/coordinator/training.h"
#include "server/coordinator/training_metrics.h"

namespace percentdelta {

// Thread-safe. Callbacks are called under no lock, on the thread whose call led to them.
class Coordinator {
 public:
  struct Options {
    Job job;
    int shard_count = 1;
    uint64_t first_generation = 1;

    // The job's checkpoints; null if it has none.
    std::shared_ptr<const CheckpointStore> store = nullptr;

    // The directory of a checkpoint to start with while the store has none. Empty: start at step 0.
    std::string restore = {};

    // Of every lease; zero derives it from recent leases (lease_durations.h).
    absl::Duration lease_deadline = absl::ZeroDuration();

    // How many steps' statistics and points are retained.
    int64_t history_steps = 10000;

    // Shards report histograms of the steps that are multiples of it; a checkpoint is complete when
    // those of the steps before it are written (HistogramRing). 0: no histograms.
    int64_t histogram_steps = 0;

    // How many workers may call within a minute (worker_roster.h).
    int max_workers = WorkerRoster::kMaxWorkers;

    // A lease may be renewed until it is this many deadlines old.
    int max_lease_deadlines = LeaseTable::kMaxDeadlines;

    // Finds out whether a new process answers at its address, and then calls OnCalledBack(); called
    // again for its later heartbeats. Must not block, nor call OnCalledBack() itself. Null: every
    // process is admitted without.
    std::function<void(const Newcomer& newcomer)> call_back = nullptr;

    const Clock* clock = nullptr;  // must outlive the coordinator
    Logger log;
  };

  explicit Coordinator(Options options);
  ~Coordinator();

  const Job& job() const { return options_.job; }
  const std::string& job_hash() const { return job_hash_; }
  int shard_count() const { return options_.shard_count; }

  ClusterView view() const;

  // Takes a shard's heartbeat (membership.h). May open a generation: at once if nothing has to be
  // read from disk, otherwise in WorkOnCheckpoints().
  absl::StatusOr<ClusterView> Heartbeat(const ShardBeat& beat);

  // The result of Options::call_back. kOk: the process answered. kFailedPrecondition: another
  // process answered. Any other error: none did; shard 0 is admitted nevertheless, because not
  // every network routes a process back to itself. The message is a sentence.
  void OnCalledBack(const Newcomer& newcomer, const absl::Status& status);

  // Calls `callback` with a lease: at once if there is work or the training has ended, otherwise
  // when there is, or with kWait after `max_wait` (at most 30 s). Returns an id for CancelWait.
  //   kInvalidArgument     a name that is too long or not printable
  //   kFailedPrecondition  the worker's arithmetic or data are not those of the training
  //                        (worker_compatibility.h), or it is suspended (worker_roster.h)
  uint64_t Acquire(const WorkerIdentity& worker, absl::Duration max_wait, LeaseCallback callback);

  // A shard of `generation` has all gradients of the steps below `steps`. Heartbeats say the same;
  // this is for a shard in the coordinator's own process.
  void Gathered(uint64_t generation, int32_t shard, int64_t steps);

  // Answers the call with kCancelled if it still waits.
  void CancelWait(uint64_t wait);

  // Takes a result and returns the next lease, or kWait. Errors: of LeaseTable::Complete, and
  // kFailedPrecondition for a lease of another generation, kPermissionDenied for one that was given
  // to another worker.
  absl::StatusOr<Lease> Complete(const LeaseResult& result);

  // Restarts the deadline of a lease and returns it. Errors: of LeaseTable::Renew, and
  // kFailedPrecondition for a lease of another generation, kPermissionDenied for one that was given
  // to another worker.
  absl::StatusOr<absl::Duration> Renew(uint64_t generation, uint64_t lease_id,
                                       const std::string& worker);

  // Requests a checkpoint of the step that is returned, or of a later one.
  //   kFailedPrecondition  the job has no checkpoints, or the training has ended
  //   kUnavailable         shards are still gathering
  absl::StatusOr<int64_t> TakeCheckpoint();

  // Gives out no more leases until Resume(); those that were given out go on.
  //   kFailedPrecondition  the training is finished, failed or is being drained
  //   kUnavailable         no generation has opened yet
  absl::Status Pause();

  // Ends a pause, and abandons a drain whose checkpoint is not complete.
  //   kFailedPrecondition  the drain is complete
  //   kUnavailable         no generation has opened yet
  absl::Status Resume();

  // Waits until a crash of the coordinator would not undo what Pause() or Resume() did before. At
  // once without checkpoints.
  //   kUnavailable  not within `timeout`
  absl::Status AwaitPauseRecorded(absl::Duration timeout);

  // Starts a drain (operator_requests.h): requests its checkpoint, of the step that is returned or
  // of a later one.
  //   kFailedPrecondition  the job has no checkpoints, or the training has failed
  //   kUnavailable         shards are still gathering
  absl::StatusOr<int64_t> Drain();

  // Takes the statistics of some tensors of a step. Errors: of StatisticsRing::Add, and
  // kInvalidArgument for a step that has not started.
  absl::Status ReportStatistics(uint64_t generation, const std::vector<TensorStatistics>& updates);

  // Takes the histograms of a slice in a step. Errors: of HistogramRing::Add, and kInvalidArgument
  // for a step that has not started.
  absl::Status ReportHistograms(uint64_t generation, const SliceHistograms& histograms);

  // With the points of the steps from `from_step` to `last_step`.
  Progress GetProgress(int64_t from_step,
                       int64_t last_step = std::numeric_limits<int64_t>::max()) const;

  // For people: who does what now, and what has happened since the event `after` (0: all that is
  // retained).
  ClusterActivity GetActivity() const;
  std::vector<ClusterEvent> EventsAfter(int64_t after) const;
  absl::Duration Now() const { return options_.clock->Now(); }  // of these events

  // For metrics: the state of the training, and how many calls wait for work.
  TrainingMetrics GetMetrics() const;

  // Whether the training has failed: the state of GetProgress(), for frequent callers.
  bool failed() const;

  StatisticsRing& statistics() { return statistics_; }
  HistogramRing& histograms() { return histograms_; }

  // Expires leases and waiting calls; ends the statistics of a failed training with kAborted. To be
  // called several times a second.
  void Tick();

  // Opens the generation that is due, completes the checkpoint that is ready and records a pause in
  // the job's directory of checkpoints. To be called
  // several times a second, by one thread, which may block on the disk.
  void WorkOnCheckpoints();

  // Ends all waiting calls, the statistics, and later calls with kUnavailable.
  void Close();

 private:
  bool NeedsDisk() const { return options_.store != nullptr || !options_.restore.empty(); }
  void OpenFromDisk();
  void OpenGeneration(uint64_t at_least, const std::optional<Checkpoint>& checkpoint,
                      absl::Duration now, LeaseAnswers& answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LogRefusal(const absl::Status& status, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CompleteCheckpoint();
  void RecordPause();
  absl::StatusOr<int64_t> StepOf(uint64_t generation) const;
  void RefuseWaiters(absl::Duration now, LeaseAnswers& answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ServeWaiters(absl::Duration now, LeaseAnswers& answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::string job_hash_;
  StatisticsRing statistics_;  // thread-safe
  HistogramRing histograms_;   // thread-safe

  mutable absl::Mutex mutex_;
  Training training_ ABSL_GUARDED_BY(mutex_);
  LeaseWaiters waiters_ ABSL_GUARDED_BY(mutex_);
  std::string opening_error_ ABSL_GUARDED_BY(mutex_);  // why the due generation did not open
  absl::Duration reopen_at_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  absl::Duration refusal_logged_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  bool recorded_pause_ ABSL_GUARDED_BY(mutex_) = false;  // on disk
  absl::Duration record_again_at_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  int64_t refusals_not_logged_ ABSL_GUARDED_BY(mutex_) = 0;  // of heartbeats, since then
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;

  // For metrics: checkpoints completed since the process started, and when the newest one was, or
  // was restored.
  int64_t checkpoints_completed_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<absl::Time> checkpoint_time_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_COORDINATOR_H_

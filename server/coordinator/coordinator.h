// The coordinator: membership, leases, progress, statistics and checkpoints of the cluster under
// one lock, and the calls that wait for work. Lives in shard 0. Free of gRPC. What it does on disk
// is in coordinator_checkpoints.cc, and done under no lock.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_COORDINATOR_H_
#define PERCENTDELTA_SERVER_COORDINATOR_COORDINATOR_H_

#include <cstdint>
#include <deque>
#include <functional>
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
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_plan.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/coordinator/lease_table.h"
#include "server/coordinator/membership.h"
#include "server/coordinator/progress_history.h"
#include "server/coordinator/statistics_ring.h"
#include "server/coordinator/worker_roster.h"

namespace percentdelta {

// Thread-safe. Callbacks run under no lock, on the thread of whoever brought the news.
class Coordinator {
 public:
  struct Options {
    Job job;
    int shard_count = 1;
    uint64_t first_generation = 1;

    // Where checkpoints go; null if the job has none.
    std::shared_ptr<const CheckpointStore> store = nullptr;

    // The directory of a checkpoint to begin with while the store has none. Empty: step 0.
    std::string restore = {};

    // Of every lease; zero derives it from the observed pace (lease_table.h).
    absl::Duration lease_deadline = absl::ZeroDuration();

    // How many steps' statistics and points are retained.
    int64_t history_steps = 10000;

    // Finds out whether a process that is new answers at its address, and tells it by Called(); a
    // beat of it may ask again. Must not block, nor call back at once. Null: it is taken at its
    // word.
    std::function<void(const Newcomer& newcomer)> call_back = nullptr;

    const Clock* clock = nullptr;  // outlives the coordinator
    Logger log;
  };

  explicit Coordinator(Options options);
  ~Coordinator();

  const Job& job() const { return options_.job; }
  const std::string& job_hash() const { return job_hash_; }

  ClusterView view() const;

  // A shard's sign of life (membership.h). All shards there, one of them new: opens a generation;
  // at once if nothing has to be looked up on disk, else WorkOnCheckpoints() does.
  absl::StatusOr<ClusterView> Heartbeat(const ShardBeat& beat);

  // What came of Options::call_back. kOk: it answered. kFailedPrecondition: something else
  // answered. Any other error: nothing did, which shard 0 is forgiven, for not every network leads
  // back to where one is. The message is a sentence.
  void Called(const Newcomer& newcomer, const absl::Status& status);

  // Calls back with a lease: at once if there is work or the training has ended, else when there
  // is, or with kWait after `max_wait` (at most 30 s). The result names the call for CancelWait.
  //   kInvalidArgument     a name that is too long or not printable
  //   kFailedPrecondition  the worker's arithmetic or data are not the first worker's; or it has
  //                        been sent away (worker_roster.h)
  using LeaseCallback = std::function<void(absl::StatusOr<Lease>)>;
  uint64_t Acquire(const WorkerIdentity& worker, absl::Duration max_wait, LeaseCallback done);

  // A shard of `generation` has all gradients of the steps below `steps`. Heartbeats tell the same;
  // this is for a shard in the coordinator's own process.
  void Gathered(uint64_t generation, int32_t shard, int64_t steps);

  // Calls back with kCancelled if the call still waits.
  void CancelWait(uint64_t wait);

  // Takes a result and answers with the next lease, or kWait. Errors: lease_table.h, and
  // kFailedPrecondition for a lease of another generation.
  absl::StatusOr<Lease> Complete(const LeaseResult& result);

  // Lets the deadline of a lease begin anew, and returns it. Errors: LeaseTable::Renew, and
  // kFailedPrecondition for a lease of another generation.
  absl::StatusOr<absl::Duration> Renew(uint64_t generation, uint64_t lease_id,
                                       const std::string& worker);

  // Wants a checkpoint of the step that is returned, or of a later one.
  //   kFailedPrecondition  the job has no checkpoints, or the training has ended
  //   kUnavailable         shards are still gathering
  absl::StatusOr<int64_t> TakeCheckpoint();

  // Takes tensors' updates of a step. kInvalidArgument: of a step that is yet to come; other
  // errors: statistics_ring.h.
  absl::Status ReportStatistics(uint64_t generation, const std::vector<TensorStatistics>& updates);

  Progress GetProgress(int64_t from_step) const;

  // Whether the training has failed: the state of GetProgress, for those who ask often.
  bool failed() const;

  StatisticsRing& statistics() { return statistics_; }

  // To be called some times a second: expires leases and waiting calls; ends the statistics of a
  // failed training with kAborted.
  void Tick();

  // Reads and writes checkpoints: opens the generation that is due, completes the checkpoint whose
  // parts are there. To be called some times a second, by one thread, which may have to wait for
  // the disk.
  void WorkOnCheckpoints();

  // Ends all waiting calls and the statistics with kUnavailable, and those that come later.
  void Close();

 private:
  struct Waiting {
    uint64_t id;
    WorkerIdentity worker;
    absl::Duration until;
    LeaseCallback done;
  };
  using Answers = std::vector<std::pair<LeaseCallback, absl::StatusOr<Lease>>>;

  TrainingState State() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool NeedsDisk() const { return options_.store != nullptr || !options_.restore.empty(); }
  ClusterView ViewNow() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  ClusterView ViewOf(const ShardBeat& beat) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool Keeps(int64_t step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeParts(const ShardBeat& beat) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::optional<Checkpoint>> FindBegin() const;
  void OpenFromDisk();
  void CompleteCheckpoint();
  struct Due;  // a checkpoint to be completed
  std::optional<Due> FindDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OpenGeneration(uint64_t at_least, const std::optional<Checkpoint>& begin, Answers& answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckGeneration(uint64_t generation) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckWorker(const WorkerIdentity& worker, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CheckWaiting(absl::Duration now, Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Lease> NextLease(const std::string& worker, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeGathered(int32_t shard, int64_t steps, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeMissing(const ShardBeat& beat, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string HeldUpBecause(absl::Duration now) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void GiveUpLastCheckpoint(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ExpireLeases(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Record(const LeaseTable::Completion& completion, const LeaseResult& result,
              absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RecordStep(ProgressPoint point, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  double SecondsAt(absl::Duration now) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void LogEnd() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ServeWaiting(absl::Duration now, Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::string job_hash_;
  StatisticsRing statistics_;  // self-synchronised

  mutable absl::Mutex mutex_;
  Membership membership_ ABSL_GUARDED_BY(mutex_);
  WorkerRoster roster_ ABSL_GUARDED_BY(mutex_);
  std::optional<LeaseTable> leases_ ABSL_GUARDED_BY(mutex_);  // of the open generation
  std::vector<int64_t> gathered_ ABSL_GUARDED_BY(mutex_);     // steps, by shard; of the same
  ProgressHistory history_ ABSL_GUARDED_BY(mutex_);
  CheckpointPlan plan_ ABSL_GUARDED_BY(mutex_);
  std::string begin_checkpoint_ ABSL_GUARDED_BY(mutex_);  // of the open generation; empty: none
  int64_t begin_step_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string opening_error_ ABSL_GUARDED_BY(mutex_);  // why the generation due cannot be opened
  absl::Duration open_again_at_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  std::optional<absl::Duration> statistics_awaited_ ABSL_GUARDED_BY(mutex_);  // since when
  std::optional<absl::Duration> last_awaited_ ABSL_GUARDED_BY(mutex_);        // the last checkpoint
  bool last_given_up_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Duration> retry_at_ ABSL_GUARDED_BY(mutex_);  // a manifest that failed
  double seconds_before_ ABSL_GUARDED_BY(mutex_) = 0;  // of the curves, when the generation began
  std::optional<absl::Duration> first_lease_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_log_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  bool end_logged_ ABSL_GUARDED_BY(mutex_) = false;
  std::string arithmetic_ ABSL_GUARDED_BY(mutex_);  // of all workers; empty: no worker yet
  std::string data_ ABSL_GUARDED_BY(mutex_);        // their fingerprint; empty: nobody has said
  int64_t expired_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t duplicates_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t speculative_before_ ABSL_GUARDED_BY(mutex_) = 0;  // in the generations before
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_wait_ ABSL_GUARDED_BY(mutex_) = 1;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_COORDINATOR_H_

// SPDX-License-Identifier: Apache-2.0

// Which worker does which work: the leases of the work list's items. A state machine without locks,
// clocks or I/O; time is an argument.
//
// When no item is open, the slowest work gets a second holder: the first result counts. A slot that
// was reported but whose gradient never reached a shard becomes open again (Reopen).
//
// Work that a worker failed at goes to other workers first. The training fails when at least two
// workers have failed at the same work and no other is present. A worker that fails at what another
// completes is suspended, and so is one that fails three times at work that no other has tried.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_LEASE_TABLE_H_
#define PERCENTDELTA_SERVER_COORDINATOR_LEASE_TABLE_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"
#include "common/job/job.h"
#include "server/coordinator/lease_durations.h"
#include "server/coordinator/work_list.h"
#include "server/coordinator/worker_roster.h"

namespace percentdelta {

// Not thread-safe.
class LeaseTable {
 public:
  // The effect of a result.
  struct Completion {
    enum class Kind {
      kDone,
      kDuplicate,  // the work was already done
      kFailed,     // the work is open again
    };
    Kind kind = Kind::kDone;
    int64_t trained_examples = 0;
    std::optional<ProgressPoint> training;    // a step ended: its mean (seconds left 0)
    std::optional<ProgressPoint> evaluation;  // an evaluation ended: its mean (seconds left 0)
  };

  struct Options {
    uint64_t generation = 0;
    int64_t first_step = 0;
    bool first_evaluated = false;  // the evaluation at that step, if one is due, is already done

    // Of every lease. Zero: derived from recent leases of its kind (lease_durations.h).
    absl::Duration deadline = absl::ZeroDuration();

    // Called once for each step, before the first lease of the step before: whether its weights
    // become a checkpoint. Null: never.
    std::function<bool(int64_t step)> for_checkpoint = nullptr;
  };

  // `job` and `roster` must outlive the table, which suspends workers but never calls See().
  LeaseTable(const Job& job, Options options, WorkerRoster& roster);

  // The next piece of work for a worker, or nothing if there is none now. If every item is leased,
  // the oldest lease that is slow (LeaseDurations::SlowAfter) is given a second time. Gives out
  // only work of steps below `below`.
  std::optional<Lease> Next(const std::string& worker, absl::Duration now,
                            int64_t below = std::numeric_limits<int64_t>::max());

  // Whether Next() depends on the worker, because there is work that some worker failed at.
  bool depends_on_worker() const { return failed_items_ > 0; }

  // All shards have the gradients of every step below `step`. Ends the current step, if its results
  // are in, and returns its mean.
  std::optional<ProgressPoint> Confirm(int64_t step) { return work_.Confirm(step); }

  // A shard lacks the gradients of these slots of `step`. Those whose results came at least 2 s ago
  // become open again, and their workers are suspended, since they did not push what they reported.
  struct MissingGradient {
    int32_t slot = 0;
    std::string worker;
  };
  std::vector<MissingGradient> Reopen(int64_t step, const std::vector<int32_t>& slots,
                                      absl::Duration now);

  // Why work is delayed: it failed and waits for another worker. Empty: no work is.
  std::string DelayReason() const { return work_.DescribeFailure(); }

  // kPermissionDenied if the lease was given to another worker. kOk for one whose work is done.
  absl::Status CheckHolder(uint64_t lease_id, const std::string& worker) const;

  // Restarts the deadline of a lease and returns it.
  //   kNotFound            no such lease was issued
  //   kFailedPrecondition  its work is done
  absl::StatusOr<absl::Duration> Renew(uint64_t lease_id, absl::Duration now);

  // Takes a result. A lease that has expired may still complete its work.
  //   kNotFound         no such lease was issued
  //   kInvalidArgument  counts that do not match the lease, or bad metrics (CheckMetrics)
  absl::StatusOr<Completion> Complete(const LeaseResult& result, absl::Duration now);

  // Expires the leases whose deadline has passed, and returns those whose work is not done.
  std::vector<Lease> Expire(absl::Duration now);

  int64_t step() const { return work_.step(); }
  bool step_begun() const { return asked_step_ > step(); }  // a slot of it was given out

  // Leases that were given out, have not expired, and whose work is not reported.
  int in_flight() const;

  bool finished() const { return work_.finished(); }
  int64_t oldest_unevaluated() const { return work_.oldest_unevaluated(); }
  int64_t speculative() const { return speculative_; }                   // second leases issued
  int64_t issued() const { return static_cast<int64_t>(next_id_) - 1; }  // leases, second ones too

  // Why the training failed: no worker of at least two could do the same work. Empty: it has not.
  const std::string& failure() const { return failure_; }

 private:
  struct Issued {
    Lease lease;
    std::string worker;
    absl::Duration at;
    absl::Duration until;
    bool expired = false;  // may still complete the work
  };

  absl::Status CheckIssued(uint64_t lease_id) const;
  const LeaseDurations& DurationsOf(const Lease& lease) const;
  absl::Duration DeadlineOf(const Lease& lease) const;
  bool MayTake(const std::string& worker, const WorkItem& item, absl::Duration now) const;
  bool OthersMayTry(const WorkItem& item, absl::Duration now) const;
  Lease Issue(Lease lease, WorkItem& item, const std::string& worker, absl::Duration now);
  std::optional<Lease> IssueAgain(const std::string& worker, absl::Duration now, int64_t below);
  Completion Fail(const Issued& issued, WorkItem& item, const LeaseResult& result,
                  absl::Duration now);
  Completion Finish(const Issued& issued, WorkItem& item, const LeaseResult& result,
                    absl::Duration now);

  const Options options_;
  WorkerRoster& roster_;
  WorkList work_;
  int64_t asked_step_ = -1;  // of the last call of for_checkpoint, and its result
  bool for_checkpoint_ = false;
  std::map<uint64_t, Issued> issued_;  // whose work is not done; by lease id
  uint64_t next_id_ = 1;
  LeaseDurations training_;
  LeaseDurations evaluation_;
  std::string failure_;
  int failed_items_ = 0;  // that are not done
  int64_t speculative_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_LEASE_TABLE_H_

// SPDX-License-Identifier: Apache-2.0

// What is to be done: the slots of the current step, and the evaluations that are due. A state
// machine without locks, clocks or I/O.
//
// Order: evaluations first, the oldest first, so that the accuracy curve is current; then the slots
// of the current step. A step that would make the shards drop weights that are still to be
// evaluated does not start before they are.
//
// A step ends when its results are in and all shards have its gradients (Confirm).

#ifndef PERCENTDELTA_SERVER_COORDINATOR_WORK_LIST_H_
#define PERCENTDELTA_SERVER_COORDINATOR_WORK_LIST_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"
#include "common/job/job.h"
#include "server/coordinator/result_sums.h"

namespace percentdelta {

// A slot, or a part of an evaluation.
struct WorkItem {
  // Of one worker at this item.
  struct Failures {
    int count = 0;
    std::string reason;  // of the last one
  };

  bool done = false;
  int holders = 0;                           // leases that have not expired
  int overheld = 0;                          // leases that were renewed for too long
  std::map<std::string, Failures> failures;  // by worker
  LeaseResult result;                        // if done
  WorkerIdentity worker;                     // whose result it is
  absl::Duration done_at;
};

// "slot 1 of step 0" or "the evaluation of step 2".
std::string WorkName(const Lease& lease);

// Not thread-safe. Pointers to items stay valid until the step or the evaluation ends.
class WorkList {
 public:
  // Starts at `first_step`, whose evaluation, if one is due, is already done if `first_evaluated`.
  // `job` must outlive the list.
  WorkList(const Job& job, int64_t first_step, bool first_evaluated);

  // The first item, in the order above, that is not done and that `accepts`; nothing if there is
  // none. The lease says what to do; its identity and deadline are left to the caller.
  struct Open {
    Lease lease;
    WorkItem* item = nullptr;
  };
  std::optional<Open> FindOpen(absl::FunctionRef<bool(const WorkItem& item)> accepts);

  // The item of a lease; null if its step or evaluation has ended.
  WorkItem* Find(const Lease& lease);

  // A slot of the current step; null if there is no such slot.
  WorkItem* FindSlot(int32_t slot);

  int64_t ExampleCount(const Lease& lease) const;

  // Ends the lease's evaluation if all its parts are done, and returns its mean.
  std::optional<ProgressPoint> EndEvaluation(const Lease& lease);

  // Ends the current step if all its slots are done and confirmed, and returns its mean (its
  // seconds are left 0).
  std::optional<ProgressPoint> EndStep();

  // All shards have the gradients of every step below `step`. Then as EndStep().
  std::optional<ProgressPoint> Confirm(int64_t step);

  // The workers whose results made the last step that ended, by slot.
  const std::vector<WorkerIdentity>& contributors() const { return contributors_; }

  // Of an item that failed and is not done: what failed, where and why. Empty: there is none.
  std::string DescribeFailure() const;

  int64_t step() const { return step_; }
  bool finished() const { return step_ == job_.max_steps && evaluations_.empty(); }

  // The step of the oldest evaluation that is not done; the current step if there is none.
  int64_t oldest_unevaluated() const;

 private:
  struct Evaluation {
    int64_t step = 0;
    std::vector<WorkItem> parts;
    size_t added = 0;  // of the parts, the first that are in `sums`; they have no result any more
    ResultSums sums;
  };

  bool MayTrain() const;
  void StartStep();

  const Job& job_;
  int64_t step_;
  int64_t confirmed_;  // all shards have the gradients of the steps below
  std::vector<WorkItem> slots_;
  std::vector<WorkerIdentity> contributors_;
  std::deque<Evaluation> evaluations_;  // ascending steps
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_WORK_LIST_H_

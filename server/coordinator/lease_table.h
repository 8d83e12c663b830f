// Who works on what: the leases of the present step's slots and of the evaluations that are due.
// A state machine without locks, clocks or I/O; time is an argument.
//
// Order of work: evaluations first, oldest first, so that the accuracy curve is fresh; then the
// free slots of the present step. A step that would make the shards forget weights that are still
// to be evaluated is not begun before they are. When nothing is free, the slowest work gets a
// second holder: the first result counts.
//
// A step ends when its results are in and all shards have its gradients (Confirm). A slot that was
// reported but never reached a shard becomes free again (Reopen).
//
// Work that a worker failed at goes to other workers first. The training fails when at least two
// workers have failed at the same work and no other is present; a worker that fails at what another
// can do is sent away, and so is one that fails three times at work that nobody else has tried.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_LEASE_TABLE_H_
#define PERCENTDELTA_SERVER_COORDINATOR_LEASE_TABLE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"
#include "common/job/job.h"
#include "server/coordinator/worker_roster.h"

namespace percentdelta {

// Not thread-safe.
class LeaseTable {
 public:
  // What came of a result.
  struct Completion {
    enum class Kind {
      kDone,
      kDuplicate,  // the work had been done already
      kFailed,     // the work was given back
    };
    Kind kind = Kind::kDone;
    int64_t trained_examples = 0;
    std::optional<ProgressPoint> training;    // a step is done: its mean (seconds left 0)
    std::optional<ProgressPoint> evaluation;  // an evaluation is done
  };

  struct Options {
    uint64_t generation = 0;
    int64_t first_step = 0;
    bool first_evaluated = false;  // the evaluation at that step, if one is due, has been done

    // Of every lease; zero derives it from the longest of the last 32 leases of its kind, times 5,
    // within 2 s .. 10 min, and 60 s before there is any.
    absl::Duration deadline = absl::ZeroDuration();

    // Asked once, before the first lease of the step before: whether the weights of `step` are to
    // be kept for a checkpoint. Empty: none are.
    std::function<bool(int64_t step)> keeps = {};
  };

  // `job` and `roster` must outlive the table, which sends workers away but does not See() them.
  LeaseTable(const Job& job, Options options, WorkerRoster& roster);

  // The next piece of work for a worker, or nothing to do now. When all is given out, the work that
  // has been out longest is given a second time, if that is at least twice as long as any lease of
  // its kind took lately, and half a second.
  std::optional<Lease> Next(const std::string& worker, absl::Duration now);

  // Whether Next() depends on the worker: there is work that somebody failed at.
  bool choosy() const { return failed_works_ > 0; }

  // All shards have the gradients of every step below `step`. Ends the present step, if its results
  // are in, and returns its mean.
  std::optional<ProgressPoint> Confirm(int64_t step);

  // A shard lacks the gradients of these slots of `step`. Those whose results came at least 2 s ago
  // become free again, since their workers have not pushed what they reported. Returns them with
  // the workers' names, and sends these workers away.
  struct Unfounded {
    int32_t slot = 0;
    std::string worker;
  };
  std::vector<Unfounded> Reopen(int64_t step, const std::vector<int32_t>& slots,
                                absl::Duration now);

  // Why work is held up: it is done by report but shards lack gradients of it, or it failed and
  // waits for another worker. Empty: it is not.
  std::string HeldUpBecause() const;

  // Lets the deadline of a lease begin anew; returns it.
  //   kNotFound            a lease that was never given
  //   kFailedPrecondition  its work is done
  absl::StatusOr<absl::Duration> Renew(uint64_t lease_id, absl::Duration now);

  // Takes a result. A lease that has expired may still complete its work.
  //   kNotFound         a lease that was never given
  //   kInvalidArgument  counts that do not fit the lease
  absl::StatusOr<Completion> Complete(const LeaseResult& result, absl::Duration now);

  // Takes back the leases whose deadline has passed; returns them.
  std::vector<Lease> Expire(absl::Duration now);

  int64_t step() const { return step_; }
  bool finished() const { return step_ == job_.max_steps && evaluations_.empty(); }

  // The step of the oldest evaluation that is not done; the present step if there is none.
  int64_t oldest_unevaluated() const;

  int64_t speculative() const { return speculative_; }  // second leases given

  // Why the training cannot go on: no worker of at least two could do the same work. Empty: it can.
  const std::string& failure() const { return failure_; }

 private:
  // Of one worker at the same work.
  struct Failures {
    int count = 0;
    std::string reason;  // the last
  };

  // A slot, or a part of an evaluation.
  struct Work {
    bool done = false;
    int holders = 0;                           // whose leases have not expired
    std::map<std::string, Failures> failures;  // by worker
    LeaseResult result;                        // when done
    absl::Duration done_at;
  };

  struct Evaluation {
    int64_t step = 0;
    std::vector<Work> parts;
  };

  struct Given {
    Lease lease;
    std::string worker;
    absl::Duration at;
    absl::Duration until;
    bool expired = false;  // may still complete the work
  };

  // Longest of the last durations of one kind of lease.
  class Pace {
   public:
    void Add(absl::Duration duration);
    absl::Duration Deadline() const;
    std::optional<absl::Duration> Longest() const;

   private:
    std::deque<absl::Duration> recent_;
  };

  absl::Status CheckKnown(uint64_t lease_id) const;
  const Pace& PaceOf(const Lease& lease) const;
  absl::Duration DeadlineOf(const Lease& lease) const;
  bool MayTake(const std::string& worker, const Work& work, absl::Duration now) const;
  bool OthersMayTry(const Work& work, absl::Duration now) const;
  Lease Give(Lease lease, Work& work, const std::string& worker, absl::Duration now);
  std::optional<Lease> GiveAgain(const std::string& worker, absl::Duration now);
  Work* FindWork(const Lease& lease);
  int64_t ExampleCount(const Lease& lease) const;
  bool MayTrain() const;
  void BeginStep();
  Completion Fail(const Given& given, Work& work, const LeaseResult& result, absl::Duration now);
  Completion Finish(const Given& given, Work& work, const LeaseResult& result, absl::Duration now);
  std::optional<ProgressPoint> EndStep();
  std::optional<ProgressPoint> Summarize(int64_t step, const std::vector<Work>& works) const;

  const Job& job_;
  const Options options_;
  WorkerRoster& roster_;

  int64_t step_;
  int64_t confirmed_;          // all shards have the gradients of the steps below
  std::optional<bool> keeps_;  // of the step after this one; not asked yet: nothing
  std::vector<Work> slots_;
  std::deque<Evaluation> evaluations_;  // ascending steps
  std::map<uint64_t, Given> given_;     // whose work is not done; by lease id
  uint64_t next_id_ = 1;
  Pace training_pace_;
  Pace evaluation_pace_;
  std::string failure_;
  int failed_works_ = 0;  // that are not done
  int64_t speculative_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_LEASE_TABLE_H_

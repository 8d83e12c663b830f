// Who works on what: the leases of the present step's slots and of the evaluations that are due.
// A state machine without locks, clocks or I/O; time is an argument.
//
// Order of work: evaluations first, oldest first, so that the accuracy curve is fresh; then the
// free slots of the present step. A step that would make the shards forget weights that are still
// to be evaluated is not begun before they are. When nothing is free, the slowest work gets a
// second holder: whoever is first counts.

#ifndef PERCENTDELTA_SERVER_LEASE_TABLE_H_
#define PERCENTDELTA_SERVER_LEASE_TABLE_H_

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
#include "common/job.h"
#include "common/lease.h"
#include "common/progress.h"

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

  // `job` must outlive the table.
  LeaseTable(const Job& job, Options options);

  // The next piece of work, or nothing to do now. When all is given out, the work that has been
  // out longest is given a second time, if that is at least twice as long as any lease of its kind
  // took lately, and half a second.
  std::optional<Lease> Next(absl::Duration now);

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

  // Why the training can not go on: the same work has failed three times by its own fault. Empty:
  // it can.
  const std::string& failure() const { return failure_; }

 private:
  // A slot, or a part of an evaluation.
  struct Work {
    bool done = false;
    int holders = 0;  // whose leases have not expired
    int failures = 0;
    LeaseResult result;  // when done
  };

  struct Evaluation {
    int64_t step = 0;
    std::vector<Work> parts;
  };

  struct Given {
    Lease lease;
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
  Lease Give(Lease lease, Work& work, absl::Duration now);
  std::optional<Lease> GiveAgain(absl::Duration now);
  Work* FindWork(const Lease& lease);
  int64_t ExampleCount(const Lease& lease) const;
  bool MayTrain() const;
  void BeginStep();
  Completion Fail(const Given& given, Work& work, const LeaseResult& result);
  Completion Finish(const Given& given, Work& work, const LeaseResult& result, absl::Duration now);
  std::optional<ProgressPoint> Summarize(int64_t step, const std::vector<Work>& works) const;

  const Job& job_;
  const Options options_;

  int64_t step_;
  std::optional<bool> keeps_;  // of the step after this one; not asked yet: nothing
  std::vector<Work> slots_;
  std::deque<Evaluation> evaluations_;  // ascending steps
  std::map<uint64_t, Given> given_;     // whose work is not done; by lease id
  uint64_t next_id_ = 1;
  Pace training_pace_;
  Pace evaluation_pace_;
  std::string failure_;
  int64_t speculative_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_LEASE_TABLE_H_

// SPDX-License-Identifier: Apache-2.0

// What a worker knows of its leases that failed in a row: how long it pauses, and when it gives up.

#ifndef PERCENTDELTA_WORKER_FAILURE_STREAK_H_
#define PERCENTDELTA_WORKER_FAILURE_STREAK_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace percentdelta {

// Not thread-safe.
class FailureStreak {
 public:
  // `clock` must outlive the streak.
  FailureStreak(absl::Duration give_up_after, const Clock& clock)
      : give_up_after_(give_up_after), clock_(clock) {}

  // Leases that failed since the last one that succeeded.
  int length() const { return length_; }

  void End() { length_ = 0; }

  // Counts one more failed lease. Returns the pause before the next: 20 ms, doubled by each failure
  // to at most 2 s, then shortened at random by up to a half, so that workers do not all come back
  // at the same moment.
  absl::Duration Extend();

  // Call with the status of each lease. kUnavailable once all leases have failed for longer than
  // `give_up_after` because servers were unreachable. An error `at_fault`, of the worker itself,
  // and kFailedPrecondition, the sign of a cluster that has moved on, show that they are reachable.
  absl::Status CheckReachable(const absl::Status& lease, bool at_fault);

 private:
  const absl::Duration give_up_after_;
  const Clock& clock_;
  int length_ = 0;
  std::optional<absl::Duration> unreachable_since_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_FAILURE_STREAK_H_

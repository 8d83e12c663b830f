// SPDX-License-Identifier: Apache-2.0

// How long recent leases of one kind took, and the deadline that follows.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_LEASE_DURATIONS_H_
#define PERCENTDELTA_SERVER_COORDINATOR_LEASE_DURATIONS_H_

#include <deque>
#include <optional>

#include "absl/time/time.h"

namespace percentdelta {

// Not thread-safe. Remembers the last 32 durations.
class LeaseDurations {
 public:
  void Add(absl::Duration duration);

  // The longest of them; nothing before the first one.
  std::optional<absl::Duration> Longest() const;

  // Five times the longest, within 2 s .. 10 min; 60 s before the first one.
  absl::Duration Deadline() const;

  // How long a lease must have been out before its work is given to a second worker: twice the
  // longest, at least 0.5 s; 20 s before the first one.
  absl::Duration SlowAfter() const;

 private:
  std::deque<absl::Duration> recent_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_LEASE_DURATIONS_H_

// SPDX-License-Identifier: Apache-2.0

// Which workers there are, and which are suspended. A state machine without locks, clocks or I/O.
//
// A worker that fails at work is not blamed yet: the work may be impossible. It is blamed when
// another worker completes the same work, or when it reports a gradient that the shards do not
// have. Then it is suspended for a minute, so that it neither ends the training nor slows it down.
//
// A worker is proven once the shards have a gradient of it, until it keeps others waiting: it lets
// a lease expire, renews one for too long, or is overtaken at work that it is slow with. Leases of
// workers that are not proven do not keep proven ones from the same work (lease_table.h).

#ifndef PERCENTDELTA_SERVER_COORDINATOR_WORKER_ROSTER_H_
#define PERCENTDELTA_SERVER_COORDINATOR_WORKER_ROSTER_H_

#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/cluster/lease.h"

namespace percentdelta {

// Not thread-safe.
class WorkerRoster {
 public:
  // A worker counts as present for this long after its last call.
  static constexpr absl::Duration kPresence = absl::Minutes(1);
  // How long a worker is suspended.
  static constexpr absl::Duration kSuspension = absl::Minutes(1);

  // How many names are remembered, by default.
  static constexpr int kMaxWorkers = 4096;

  explicit WorkerRoster(int max_workers = kMaxWorkers) : max_workers_(max_workers) {}

  // kResourceExhausted if the worker is a new one, and there are too many already.
  absl::Status CheckRoom(const std::string& worker, absl::Duration now);

  // Records a call of the worker, for which there must be room.
  void See(const std::string& worker, absl::Duration now);

  // The same, of a worker that says how it computes and from what.
  void See(const WorkerIdentity& worker, absl::Duration now);

  // What the worker said last; its name alone if that is not known.
  WorkerIdentity IdentityOf(const std::string& worker) const;

  // No effect on a worker that is not remembered, which is not proven.
  void SetProven(const std::string& worker, bool proven);
  bool IsProven(const std::string& worker) const;

  // Gives the worker no work for kSuspension. `reason` is for people.
  void Suspend(const std::string& worker, const std::string& reason, absl::Duration now);

  // kFailedPrecondition, with the reason, if the worker is suspended.
  absl::Status CheckNotSuspended(const std::string& worker, absl::Duration now) const;

  // Workers that called within kPresence, suspended or not.
  int Count(absl::Duration now) const;

  // Whether a worker is present that is not suspended and is not one of `workers`.
  bool HasOtherThan(const std::set<std::string>& workers, absl::Duration now) const;

  // If all workers that are present are suspended: why the first of them is. Otherwise empty.
  std::string WhyAllSuspended(absl::Duration now) const;

 private:
  struct Record {
    absl::Duration seen;
    std::optional<absl::Duration> suspended_until;
    std::string reason;
    bool proven = false;
    std::string arithmetic;  // as in WorkerIdentity
    std::string data;
  };

  static bool IsSuspended(const Record& record, absl::Duration now) {
    return record.suspended_until && now < *record.suspended_until;
  }
  static bool IsPresent(const Record& record, absl::Duration now) {
    return now - record.seen <= kPresence;
  }

  void Forget(absl::Duration now);

  const int max_workers_;
  std::map<std::string, Record> workers_;
  absl::Duration forgot_ = -absl::InfiniteDuration();  // when workers were last forgotten
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_WORKER_ROSTER_H_

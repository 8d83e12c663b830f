// Which workers there are, and what they failed at. A state machine without locks, clocks or I/O.
//
// A worker that fails at work is not to blame yet: the work may be impossible. It is to blame when
// another worker can do the same work, or when it reports a gradient that the shards do not have.
// Then it is sent away for a minute, so that it neither ends the training nor slows it down.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_WORKER_ROSTER_H_
#define PERCENTDELTA_SERVER_COORDINATOR_WORKER_ROSTER_H_

#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace percentdelta {

// Not thread-safe.
class WorkerRoster {
 public:
  // A worker is present for this long after it was heard of.
  static constexpr absl::Duration kPresence = absl::Minutes(1);
  // And away for this long when it was sent away.
  static constexpr absl::Duration kAway = absl::Minutes(1);

  // The worker was heard of.
  void See(const std::string& worker, absl::Duration now);

  // The worker must not get work for kAway. `reason` is for people.
  void SendAway(const std::string& worker, const std::string& reason, absl::Duration now);

  // kFailedPrecondition, with the reason, if the worker is sent away.
  absl::Status CheckWelcome(const std::string& worker, absl::Duration now) const;

  // Workers heard of within kPresence, whether they get work or not.
  int Count(absl::Duration now) const;

  // Whether a worker is present that may get work and is not one of `workers`.
  bool HasOtherThan(const std::set<std::string>& workers, absl::Duration now) const;

  // Why nobody works: all workers that are present are sent away. Empty: somebody may get work, or
  // nobody is present.
  std::string AllAwayBecause(absl::Duration now) const;

 private:
  struct Record {
    absl::Duration seen;
    std::optional<absl::Duration> away_until;
    std::string reason;
  };

  static bool IsAway(const Record& record, absl::Duration now) {
    return record.away_until && now < *record.away_until;
  }
  static bool IsPresent(const Record& record, absl::Duration now) {
    return now - record.seen <= kPresence;
  }

  std::map<std::string, Record> workers_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_WORKER_ROSTER_H_

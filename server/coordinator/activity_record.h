// SPDX-License-Identifier: Apache-2.0

// Who has done what in a training, for people: the workers, and a list of events. It decides
// nothing. A state machine without locks, clocks or I/O; time is an argument.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_ACTIVITY_RECORD_H_
#define PERCENTDELTA_SERVER_COORDINATOR_ACTIVITY_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/cluster/activity.h"
#include "common/cluster/lease.h"
#include "server/coordinator/membership.h"
#include "server/coordinator/worker_roster.h"

namespace percentdelta {

// Not thread-safe. The workers that it remembers are those of the roster.
class ActivityRecord {
 public:
  // How many events are retained, and how many are taken in a second: a worker that fails all the
  // time must not drive out what else happened.
  static constexpr size_t kMaxEvents = 1000;
  static constexpr int kMaxEventsPerSecond = 20;

  void Add(ClusterEvent::Kind kind, int64_t step, absl::Duration now, std::string text);

  // A worker called; got a lease; reported a result, of which `examples` count as trained.
  void SeeWorker(const std::string& worker, int64_t step, absl::Duration now);
  void AddLease(const std::string& worker, const Lease& lease, absl::Duration now);
  void AddResult(const LeaseResult& result, int64_t examples, int64_t step, absl::Duration now);

  // A lease expired.
  void AddExpired(const Lease& lease, absl::Duration now);

  // Adds events about shards that have come, returned or fallen silent since the last call.
  void CheckShards(const Membership& membership, int64_t step, absl::Duration now);

  // Adds events about workers that have been suspended, that have fallen silent with a lease, or
  // for a long time. To be called about once a second.
  void CheckWorkers(const WorkerRoster& roster, int64_t step, absl::Duration now);

  std::vector<WorkerActivity> Workers(const WorkerRoster& roster, absl::Duration now) const;

  // The events whose id is greater, the oldest first.
  std::vector<ClusterEvent> EventsAfter(int64_t id) const;

 private:
  struct Worker {
    absl::Duration since;
    absl::Duration seen;
    absl::Duration issued;
    uint64_t lease_id = 0;  // 0: none
    absl::Duration deadline;
    WorkerActivity shown;  // without what the time determines
  };
  struct ShardSeen {
    uint64_t incarnation = 0;
    bool silent = false;
  };

  std::map<std::string, Worker> workers_;
  std::vector<ShardSeen> shards_;
  std::deque<ClusterEvent> events_;
  int64_t last_id_ = 0;
  absl::Duration second_ = -absl::InfiniteDuration();  // begin of the current one
  int in_second_ = 0;
  int64_t not_listed_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_ACTIVITY_RECORD_H_

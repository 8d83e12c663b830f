// SPDX-License-Identifier: Apache-2.0

// The calls that wait for work, in order of arrival.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_LEASE_WAITERS_H_
#define PERCENTDELTA_SERVER_COORDINATOR_LEASE_WAITERS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster/lease.h"

namespace percentdelta {

using LeaseCallback = std::function<void(absl::StatusOr<Lease>)>;

// Answers that were decided under a lock and are sent after it is released. Not thread-safe.
class LeaseAnswers {
 public:
  void Add(LeaseCallback callback, absl::StatusOr<Lease> lease) {
    answers_.emplace_back(std::move(callback), std::move(lease));
  }

  // Calls the callbacks. To be called once, under no lock.
  void Send() {
    for (auto& [callback, lease] : answers_) callback(std::move(lease));
  }

 private:
  std::vector<std::pair<LeaseCallback, absl::StatusOr<Lease>>> answers_;
};

// Not thread-safe.
class LeaseWaiters {
 public:
  // Adds a call, which waits until `until`. Returns its id, for Cancel().
  uint64_t Add(const WorkerIdentity& worker, absl::Duration until, LeaseCallback callback);

  // Answers the call with kCancelled if it still waits.
  void Cancel(uint64_t id, LeaseAnswers& answers);

  // Answers each call with what `next` has for it, and those that have waited long enough with
  // kWait. After the first call that gets nothing, `next` is asked for the others only if
  // `depends_on_worker`.
  void Serve(absl::Duration now, bool depends_on_worker,
             absl::FunctionRef<std::optional<Lease>(const WorkerIdentity& worker)> next,
             LeaseAnswers& answers);

  // Answers the calls for which `check` returns an error with that error.
  void Refuse(absl::FunctionRef<absl::Status(const WorkerIdentity& worker)> check,
              LeaseAnswers& answers);

  size_t size() const { return calls_.size(); }

 private:
  struct Call {
    uint64_t id;
    WorkerIdentity worker;
    absl::Duration until;
    LeaseCallback callback;
  };

  std::deque<Call> calls_;
  uint64_t next_id_ = 1;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_LEASE_WAITERS_H_

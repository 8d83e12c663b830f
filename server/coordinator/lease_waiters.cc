// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/lease_waiters.h"

#include <algorithm>

namespace percentdelta {

uint64_t LeaseWaiters::Add(const WorkerIdentity& worker, absl::Duration until,
                           LeaseCallback callback) {
  calls_.push_back({next_id_, worker, until, std::move(callback)});
  return next_id_++;
}

void LeaseWaiters::Cancel(uint64_t id, LeaseAnswers& answers) {
  const auto call =
      std::find_if(calls_.begin(), calls_.end(), [&](const Call& each) { return each.id == id; });
  if (call == calls_.end()) return;
  answers.Add(std::move(call->callback), absl::CancelledError("the worker has left"));
  calls_.erase(call);
}

void LeaseWaiters::Serve(absl::Duration now, bool depends_on_worker,
                         absl::FunctionRef<std::optional<Lease>(const WorkerIdentity& worker)> next,
                         LeaseAnswers& answers) {
  bool may_have_work = true;
  for (auto call = calls_.begin(); call != calls_.end();) {
    std::optional<Lease> lease;
    if (may_have_work) lease = next(call->worker);
    may_have_work = lease.has_value() || depends_on_worker;
    // Calls that have waited long enough are answered regardless of those before them.
    if (!lease && call->until > now) {
      ++call;
      continue;
    }
    answers.Add(std::move(call->callback), lease.value_or(Lease{}));
    call = calls_.erase(call);
  }
}

void LeaseWaiters::Refuse(absl::FunctionRef<absl::Status(const WorkerIdentity& worker)> check,
                          LeaseAnswers& answers) {
  for (auto call = calls_.begin(); call != calls_.end();) {
    absl::Status status = check(call->worker);
    if (status.ok()) {
      ++call;
      continue;
    }
    answers.Add(std::move(call->callback), std::move(status));
    call = calls_.erase(call);
  }
}

}  // namespace percentdelta

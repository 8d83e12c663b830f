// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_roster.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kForgetInterval = absl::Seconds(1);

}  // namespace

void WorkerRoster::See(const std::string& worker, absl::Duration now) {
  workers_[worker].seen = now;
  Forget(now);
}

void WorkerRoster::See(const WorkerIdentity& worker, absl::Duration now) {
  See(worker.name, now);
  Record& record = workers_[worker.name];
  record.arithmetic = worker.arithmetic;
  record.data = worker.data;
}

WorkerIdentity WorkerRoster::IdentityOf(const std::string& worker) const {
  const auto found = workers_.find(worker);
  if (found == workers_.end()) return {worker, ""};
  return {worker, found->second.arithmetic, found->second.data};
}

void WorkerRoster::SetProven(const std::string& worker, bool proven) {
  const auto found = workers_.find(worker);
  if (found != workers_.end()) found->second.proven = proven;
}

bool WorkerRoster::IsProven(const std::string& worker) const {
  const auto found = workers_.find(worker);
  return found != workers_.end() && found->second.proven;
}

// Passes over all workers, and therefore only once per interval.
void WorkerRoster::Forget(absl::Duration now) {
  if (now - forgot_ < kForgetInterval) return;
  forgot_ = now;
  std::erase_if(workers_, [&](const auto& entry) {
    return !IsPresent(entry.second, now) && !IsSuspended(entry.second, now);
  });
}

absl::Status WorkerRoster::CheckRoom(const std::string& worker, absl::Duration now) {
  const auto full = [&] { return static_cast<int>(workers_.size()) >= max_workers_; };
  if (full()) Forget(now);
  if (!full() || workers_.contains(worker)) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "worker ", worker, ": expected at most ", max_workers_,
      " workers within a minute, got one more; raise --limits=workers= of shard 0, or give a worker"
      " that comes again the same name"));
}

void WorkerRoster::Suspend(const std::string& worker, const std::string& reason,
                           absl::Duration now) {
  Record& record = workers_[worker];
  record.seen = now;
  record.suspended_until = now + kSuspension;
  record.reason = reason;
  record.proven = false;
}

absl::Status WorkerRoster::CheckNotSuspended(const std::string& worker, absl::Duration now) const {
  const auto found = workers_.find(worker);
  if (found == workers_.end() || !IsSuspended(found->second, now)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "worker ", worker, " is suspended: ", found->second.reason, "; it gets work again in ",
      absl::FormatDuration(absl::Ceil(*found->second.suspended_until - now, absl::Seconds(1)))));
}

int WorkerRoster::Count(absl::Duration now) const {
  return static_cast<int>(std::count_if(workers_.begin(), workers_.end(), [&](const auto& entry) {
    return IsPresent(entry.second, now);
  }));
}

bool WorkerRoster::HasOtherThan(const std::set<std::string>& workers, absl::Duration now) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& entry) {
    return IsPresent(entry.second, now) && !IsSuspended(entry.second, now) &&
           !workers.contains(entry.first);
  });
}

std::string WorkerRoster::WhyAllSuspended(absl::Duration now) const {
  std::string reason;
  for (const auto& [name, record] : workers_) {
    if (!IsPresent(record, now) && !IsSuspended(record, now)) continue;
    if (!IsSuspended(record, now)) return "";
    if (reason.empty()) reason = absl::StrCat("worker ", name, " is suspended: ", record.reason);
  }
  return reason;
}

}  // namespace percentdelta

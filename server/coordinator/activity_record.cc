// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/activity_record.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/coordinator/work_list.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kMaxShardSilence = absl::Seconds(5);

// The weight of the newest lease in a worker's rate.
constexpr double kNewest = 0.3;

}  // namespace

void ActivityRecord::Add(ClusterEvent::Kind kind, int64_t step, absl::Duration now,
                         std::string text) {
  if (now - second_ >= absl::Seconds(1)) {
    second_ = now;
    in_second_ = 0;
  }
  const bool counts = kind == ClusterEvent::Kind::kFault || kind == ClusterEvent::Kind::kWorker;
  if (counts && ++in_second_ > kMaxEventsPerSecond) {
    ++not_listed_;
    return;
  }
  if (not_listed_ > 0 && in_second_ <= 1) {
    absl::StrAppend(&text, "; ", std::exchange(not_listed_, 0), " more events before it");
  }
  events_.push_back({++last_id_, kind, step, now, std::move(text)});
  if (events_.size() > kMaxEvents) events_.pop_front();
}

void ActivityRecord::SeeWorker(const std::string& name, int64_t step, absl::Duration now) {
  const auto [found, is_new] = workers_.try_emplace(name);
  Worker& worker = found->second;
  worker.seen = now;
  if (!is_new) return;
  worker.since = now;
  worker.shown.name = name;
  Add(ClusterEvent::Kind::kWorker, step, now, absl::StrCat("worker ", name, " joined"));
}

void ActivityRecord::AddLease(const std::string& name, const Lease& lease, absl::Duration now) {
  const auto found = workers_.find(name);
  if (found == workers_.end()) return;
  Worker& worker = found->second;
  worker.issued = now;
  worker.seen = now;
  worker.lease_id = lease.id;
  worker.deadline = lease.deadline;
  worker.shown.lease = HeldLease{name, lease.kind, lease.step, lease.slot, {}, false};
}

void ActivityRecord::AddResult(const LeaseResult& result, int64_t examples, int64_t step,
                               absl::Duration now) {
  if (!result.failure.empty() && !result.caused_by_environment) {
    Add(ClusterEvent::Kind::kFault, step, now,
        absl::StrCat("worker ", result.worker, " failed: ", result.failure));
  }
  const auto found = workers_.find(result.worker);
  if (found == workers_.end()) return;
  if (result.leaving) {
    Add(ClusterEvent::Kind::kWorker, step, now, absl::StrCat("worker ", result.worker, " left"));
    workers_.erase(found);
    return;
  }
  Worker& worker = found->second;
  worker.seen = now;
  if (result.transport != Transport::kUnknown) worker.shown.transport = result.transport;
  if (result.failure.empty()) ++worker.shown.leases;
  if (worker.lease_id != result.lease_id) return;
  worker.lease_id = 0;
  worker.shown.lease.reset();
  if (examples <= 0) return;
  worker.shown.times = LeaseTimes{result.pull, result.compute, result.push};
  const double seconds = absl::ToDoubleSeconds(now - worker.issued);
  if (seconds <= 0) return;
  const double rate = static_cast<double>(examples) / seconds;
  double& mean = worker.shown.examples_per_second;
  mean = mean == 0 ? rate : mean + kNewest * (rate - mean);
}

void ActivityRecord::AddExpired(const Lease& lease, absl::Duration now) {
  std::string holder;
  for (auto& [name, worker] : workers_) {
    if (worker.lease_id != lease.id) continue;
    holder = absl::StrCat(" of worker ", name);
    if (worker.shown.lease) worker.shown.lease->expired = true;
  }
  Add(ClusterEvent::Kind::kFault, lease.step, now,
      absl::StrCat("the lease", holder, " for ", WorkName(lease), " expired after ",
                   absl::FormatDuration(lease.deadline), ": another worker gets it"));
}

void ActivityRecord::CheckShards(const Membership& membership, int64_t step, absl::Duration now) {
  shards_.resize(membership.shard_count());
  for (int i = 0; i < membership.shard_count(); ++i) {
    ShardSeen& seen = shards_[i];
    const uint64_t incarnation = membership.incarnation(i);
    const ShardActivity shard = membership.Activity(i, now);
    if (incarnation != 0 && incarnation != seen.incarnation) {
      Add(ClusterEvent::Kind::kShard, step, now,
          absl::StrCat("shard ", i,
                       seen.incarnation == 0 ? " registered at " : " returned as a new process at ",
                       shard.address));
    }
    const bool silent = incarnation != 0 && shard.silent > kMaxShardSilence;
    if (silent && !seen.silent) {
      Add(ClusterEvent::Kind::kShard, step, now,
          absl::StrCat("shard ", i, " at ", shard.address, " has been silent for ",
                       absl::FormatDuration(kMaxShardSilence)));
    } else if (!silent && seen.silent && incarnation == seen.incarnation) {
      Add(ClusterEvent::Kind::kShard, step, now, absl::StrCat("shard ", i, " beats again"));
    }
    seen = {incarnation, silent};
  }
}

void ActivityRecord::CheckWorkers(const WorkerRoster& roster, int64_t step, absl::Duration now) {
  for (auto entry = workers_.begin(); entry != workers_.end();) {
    auto& [name, worker] = *entry;
    const absl::Status status = roster.CheckNotSuspended(name, now);
    if (!status.ok() && worker.shown.suspended.empty()) {
      Add(ClusterEvent::Kind::kFault, step, now, std::string(status.message()));
    }
    worker.shown.suspended = std::string(status.message());
    // Another worker may have done its work: then the lease does not expire.
    if (worker.lease_id != 0 && !worker.shown.lease->expired &&
        now - worker.seen > worker.deadline) {
      worker.shown.lease->expired = true;
      Add(ClusterEvent::Kind::kFault, worker.shown.lease->step, now,
          absl::StrCat("worker ", name, " has been silent for ",
                       absl::FormatDuration(absl::Trunc(now - worker.seen, absl::Seconds(1))),
                       " with a lease of step ", worker.shown.lease->step));
    }
    if (now - worker.seen <= WorkerRoster::kPresence) {
      ++entry;
      continue;
    }
    Add(ClusterEvent::Kind::kWorker, step, now,
        absl::StrCat("worker ", name, " has not called for ",
                     absl::FormatDuration(WorkerRoster::kPresence)));
    entry = workers_.erase(entry);
  }
}

std::vector<WorkerActivity> ActivityRecord::Workers(const WorkerRoster& roster,
                                                    absl::Duration now) const {
  std::vector<WorkerActivity> workers;
  workers.reserve(workers_.size());
  for (const auto& [name, worker] : workers_) {
    WorkerActivity& shown = workers.emplace_back(worker.shown);
    shown.present = now - worker.since;
    shown.silent = now - worker.seen;
    shown.suspended = std::string(roster.CheckNotSuspended(name, now).message());
    if (shown.lease) shown.lease->held = now - worker.issued;
  }
  return workers;
}

std::vector<ClusterEvent> ActivityRecord::EventsAfter(int64_t id) const {
  const int64_t newer = std::min<int64_t>(last_id_ - id, static_cast<int64_t>(events_.size()));
  if (newer <= 0) return {};
  return {events_.end() - newer, events_.end()};
}

}  // namespace percentdelta

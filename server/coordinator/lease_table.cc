// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/lease_table.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/cluster/metrics.h"

namespace percentdelta {
namespace {

constexpr size_t kWorkersToFail = 2;
constexpr int kMaxFailuresAlone = 3;  // of one worker at the same work
constexpr absl::Duration kGradientTimeout = absl::Seconds(2);
constexpr int64_t kMaxDoublings = 20;  // of the number of workers that may hold an item

LeaseTable::Completion CompletionOf(LeaseTable::Completion::Kind kind) {
  LeaseTable::Completion completion;
  completion.kind = kind;
  return completion;
}

}  // namespace

LeaseTable::LeaseTable(const Job& job, Options options, WorkerRoster& roster)
    : options_(std::move(options)),
      roster_(roster),
      work_(job, options_.first_step, options_.first_evaluated) {}

const LeaseDurations& LeaseTable::DurationsOf(const Lease& lease) const {
  return lease.kind == Lease::Kind::kTrain ? training_ : evaluation_;
}

absl::Duration LeaseTable::DeadlineOf(const Lease& lease) const {
  return options_.deadline > absl::ZeroDuration() ? options_.deadline
                                                  : DurationsOf(lease).Deadline();
}

bool LeaseTable::MayTake(const std::string& worker, const WorkItem& item,
                         absl::Duration now) const {
  return !item.failures.contains(worker) || !OthersMayTry(item, now);
}

bool LeaseTable::OthersMayTry(const WorkItem& item, absl::Duration now) const {
  std::set<std::string> failed;
  for (const auto& [worker, failures] : item.failures) failed.insert(worker);
  return roster_.HasOtherThan(failed, now);
}

std::optional<Lease> LeaseTable::Next(const std::string& worker, absl::Duration now,
                                      int64_t below) {
  if (!failure_.empty()) return std::nullopt;
  const std::optional<WorkList::Open> open = work_.FindOpen(
      [&](const WorkItem& item) { return item.holders == 0 && MayTake(worker, item, now); });
  if (!open) return IssueAgain(worker, now, below);
  // Evaluations come first, the oldest first: what is behind this one is of the same step or later.
  if (open->lease.step >= below) return std::nullopt;
  return Issue(open->lease, *open->item, worker, now);
}

int LeaseTable::in_flight() const {
  return static_cast<int>(std::count_if(issued_.begin(), issued_.end(),
                                        [](const auto& each) { return !each.second.expired; }));
}

std::optional<Lease> LeaseTable::IssueAgain(const std::string& worker, absl::Duration now,
                                            int64_t below) {
  const bool proven = roster_.IsProven(worker);
  for (const Holders& holders : FindHolders()) {
    if (holders.oldest->lease.step >= below) continue;
    if (!MayJoin(holders, proven, now) || !MayTake(worker, *holders.item, now)) continue;
    ++speculative_;
    return Issue(holders.oldest->lease, *holders.item, worker, now);
  }
  return std::nullopt;
}

// In the order of their oldest leases.
std::vector<LeaseTable::Holders> LeaseTable::FindHolders() {
  std::vector<Holders> items;
  std::map<const WorkItem*, size_t> indices;
  for (const auto& [id, issued] : issued_) {
    WorkItem* item = work_.Find(issued.lease);
    if (issued.expired || item == nullptr || item->done) continue;
    const auto [found, is_new] = indices.try_emplace(item, items.size());
    if (is_new) items.push_back({item, &issued});
    Holders& holders = items[found->second];
    ++holders.all;
    if (roster_.IsProven(issued.worker.name)) ++holders.proven;
  }
  return items;
}

bool LeaseTable::MayJoin(const Holders& holders, bool proven, absl::Duration now) const {
  if (proven && holders.proven == 0) return true;
  const absl::Duration slow = DurationsOf(holders.oldest->lease).SlowAfter();
  const auto times_slow = static_cast<int64_t>((now - holders.oldest->at) / slow);
  const int64_t doublings = std::min(times_slow + holders.item->overheld, kMaxDoublings);
  return holders.all < int64_t{1} << doublings;
}

Lease LeaseTable::Issue(Lease lease, WorkItem& item, const std::string& worker,
                        absl::Duration now) {
  if (lease.kind == Lease::Kind::kTrain) {
    const int64_t next_step = work_.step() + 1;
    if (std::exchange(asked_step_, next_step) != next_step) {
      for_checkpoint_ = options_.for_checkpoint && options_.for_checkpoint(next_step);
    }
    lease.checkpoint = for_checkpoint_;
  }
  lease.generation = options_.generation;
  lease.id = next_id_++;
  lease.deadline = DeadlineOf(lease);
  ++item.holders;
  issued_[lease.id] = {lease, roster_.IdentityOf(worker), now, now + lease.deadline};
  return lease;
}

absl::Status LeaseTable::CheckIssued(uint64_t lease_id) const {
  if (lease_id != 0 && lease_id < next_id_) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("lease ", lease_id, ": expected one of 1..", next_id_ - 1,
                                          ", got one that was never issued"));
}

absl::Status LeaseTable::CheckHolder(uint64_t lease_id, const std::string& worker) const {
  const auto found = issued_.find(lease_id);
  if (found == issued_.end() || found->second.worker.name == worker) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "lease ", lease_id, ": expected the worker that it was given to, got worker ", worker));
}

void LeaseTable::EndHold(Issued& issued, WorkItem& item) {
  roster_.SetProven(issued.worker.name, false);
  if (!std::exchange(issued.expired, true)) --item.holders;
}

absl::StatusOr<absl::Duration> LeaseTable::Renew(uint64_t lease_id, absl::Duration now) {
  RETURN_IF_ERROR(CheckIssued(lease_id));
  const auto found = issued_.find(lease_id);
  WorkItem* item = found == issued_.end() ? nullptr : work_.Find(found->second.lease);
  if (item == nullptr || item->done) {
    return absl::FailedPreconditionError(
        absl::StrCat("lease ", lease_id,
                     ": expected a lease whose work is not done, got one whose work is done"));
  }
  Issued& issued = found->second;
  const absl::Duration deadline = DeadlineOf(issued.lease);
  const absl::Duration longest = std::max(deadline, issued.lease.deadline) * options_.max_deadlines;
  if (now - issued.at >= longest) {
    EndHold(issued, *item);
    if (!std::exchange(issued.overheld, true)) ++item->overheld;
    return absl::FailedPreconditionError(absl::StrCat(
        "lease ", lease_id, ": expected a result within ", absl::FormatDuration(longest),
        ", got only renewals: its work is open to"
        " other workers, and its result still counts if it is the first; raise"
        " --limits=lease_deadlines= of shard 0 for workers that are slower"));
  }
  if (issued.expired) ++item->holders;
  issued.expired = false;
  issued.until = now + deadline;
  return deadline;
}

absl::StatusOr<LeaseTable::Completion> LeaseTable::Complete(const LeaseResult& result,
                                                            absl::Duration now) {
  RETURN_IF_ERROR(CheckIssued(result.lease_id));
  const auto found = issued_.find(result.lease_id);
  if (found == issued_.end()) return CompletionOf(Completion::Kind::kDuplicate);
  const Issued issued = found->second;
  const int64_t examples = work_.ExampleCount(issued.lease);
  if (result.failure.empty() &&
      (result.examples != examples || result.correct < 0 || result.correct > result.examples)) {
    return absl::InvalidArgumentError(absl::StrCat("lease ", result.lease_id, ": expected ",
                                                   examples, " examples, got ", result.correct,
                                                   " correct of ", result.examples));
  }
  if (const absl::Status status = CheckMetrics(result.metrics);
      result.failure.empty() && !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("lease ", result.lease_id, ": ", status.message()));
  }
  issued_.erase(found);
  WorkItem* item = work_.Find(issued.lease);
  if (item == nullptr || item->done) return CompletionOf(Completion::Kind::kDuplicate);
  if (!result.failure.empty()) return Fail(issued, *item, result, now);
  return Finish(issued, *item, result, now);
}

LeaseTable::Completion LeaseTable::Fail(const Issued& issued, WorkItem& item,
                                        const LeaseResult& result, absl::Duration now) {
  // An expired lease holds nothing: the item may be another worker's by now.
  if (!issued.expired) --item.holders;
  if (result.caused_by_environment) return CompletionOf(Completion::Kind::kFailed);
  const std::string& worker = issued.worker.name;
  if (item.failures.empty()) ++failed_items_;
  WorkItem::Failures& failures = item.failures[worker];
  ++failures.count;
  failures.reason = result.failure;
  const std::string name = WorkName(issued.lease);
  if (item.failures.size() >= kWorkersToFail && !OthersMayTry(item, now)) {
    const auto add_name = [](std::string* out, const auto& entry) { out->append(entry.first); };
    failure_ = absl::StrCat(name, " failed on ", item.failures.size(), " workers (",
                            absl::StrJoin(item.failures, ", ", add_name),
                            "); the last reason: ", result.failure);
  } else if (failures.count >= kMaxFailuresAlone) {
    roster_.Suspend(worker, absl::StrCat("it failed at ", name, ": ", result.failure), now);
  }
  return CompletionOf(Completion::Kind::kFailed);
}

LeaseTable::Completion LeaseTable::Finish(const Issued& issued, WorkItem& item,
                                          const LeaseResult& result, absl::Duration now) {
  Completion completion;
  item.done = true;
  item.done_at = now;
  item.result = result;
  item.worker = issued.worker;
  for (const auto& [worker, failures] : item.failures) {
    if (worker == issued.worker.name) continue;
    roster_.Suspend(worker,
                    absl::StrCat("it failed at ", WorkName(issued.lease), ", which worker ",
                                 issued.worker.name, " completed: ", failures.reason),
                    now);
  }
  if (!item.failures.empty()) --failed_items_;
  DoubtOvertaken(item, now);
  if (issued.lease.kind == Lease::Kind::kTrain) {
    training_.Add(now - issued.at);
    completion.trained_examples = result.examples;
    completion.training = work_.EndStep();
    if (completion.training) ProveContributors();
  } else {
    evaluation_.Add(now - issued.at);
    completion.evaluation = work_.EndEvaluation(issued.lease);
  }
  return completion;
}

// The workers that others have overtaken at `item`, which is done.
void LeaseTable::DoubtOvertaken(const WorkItem& item, absl::Duration now) {
  for (const auto& [id, issued] : issued_) {
    if (work_.Find(issued.lease) != &item) continue;
    if (now - issued.at < DurationsOf(issued.lease).SlowAfter()) continue;
    roster_.SetProven(issued.worker.name, false);
  }
}

void LeaseTable::ProveContributors() {
  for (const WorkerIdentity& worker : work_.contributors()) {
    roster_.SetProven(worker.name, true);
  }
}

std::optional<ProgressPoint> LeaseTable::Confirm(int64_t step) {
  std::optional<ProgressPoint> mean = work_.Confirm(step);
  if (mean) ProveContributors();
  return mean;
}

std::vector<LeaseTable::MissingGradient> LeaseTable::Reopen(int64_t step,
                                                            const std::vector<int32_t>& slots,
                                                            absl::Duration now) {
  std::vector<MissingGradient> missing;
  if (step != work_.step()) return missing;
  for (const int32_t slot : slots) {
    WorkItem* item = work_.FindSlot(slot);
    if (item == nullptr || !item->done || now - item->done_at < kGradientTimeout) continue;
    const std::string worker = item->worker.name;
    roster_.Suspend(worker,
                    absl::StrCat("it reported slot ", slot, " of step ", step,
                                 " without having pushed its gradient"),
                    now);
    *item = WorkItem();
    // Others that hold it may still complete it.
    item->holders = static_cast<int>(absl::c_count_if(issued_, [&](const auto& entry) {
      return !entry.second.expired && work_.Find(entry.second.lease) == item;
    }));
    missing.push_back({slot, worker});
  }
  return missing;
}

std::vector<Lease> LeaseTable::Expire(absl::Duration now) {
  std::erase_if(issued_,
                [&](const auto& entry) { return work_.Find(entry.second.lease) == nullptr; });
  std::vector<Lease> expired;
  for (auto& [id, issued] : issued_) {
    if (issued.expired || now < issued.until) continue;
    WorkItem& item = *work_.Find(issued.lease);
    if (item.done) {
      issued.expired = true;
      continue;
    }
    EndHold(issued, item);
    expired.push_back(issued.lease);
  }
  return expired;
}

}  // namespace percentdelta

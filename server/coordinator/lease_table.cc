// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/lease_table.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/cluster/metrics.h"

namespace percentdelta {
namespace {

constexpr size_t kWorkersToFail = 2;
constexpr int kMaxFailuresAlone = 3;  // of one worker at the same work
constexpr absl::Duration kGradientTimeout = absl::Seconds(2);

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
  for (const auto& [id, issued] : issued_) {  // the oldest first
    WorkItem* item = work_.Find(issued.lease);
    if (issued.expired || item == nullptr || item->done || item->holders != 1) continue;
    if (issued.lease.step >= below) continue;
    if (now - issued.at < DurationsOf(issued.lease).SlowAfter()) continue;
    if (!MayTake(worker, *item, now)) continue;
    ++speculative_;
    return Issue(issued.lease, *item, worker, now);
  }
  return std::nullopt;
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
  issued_[lease.id] = {lease, worker, now, now + lease.deadline};
  return lease;
}

absl::Status LeaseTable::CheckIssued(uint64_t lease_id) const {
  if (lease_id != 0 && lease_id < next_id_) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("lease ", lease_id, ": expected one of 1..", next_id_ - 1,
                                          ", got one that was never issued"));
}

absl::Status LeaseTable::CheckHolder(uint64_t lease_id, const std::string& worker) const {
  const auto found = issued_.find(lease_id);
  if (found == issued_.end() || found->second.worker == worker) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "lease ", lease_id, ": expected the worker that it was given to, got worker ", worker));
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
  if (issued.expired) ++item->holders;
  issued.expired = false;
  const absl::Duration deadline = DeadlineOf(issued.lease);
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
  const std::string& worker = issued.worker;
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
  item.result.worker = issued.worker;
  for (const auto& [worker, failures] : item.failures) {
    if (worker == issued.worker) continue;
    roster_.Suspend(worker,
                    absl::StrCat("it failed at ", WorkName(issued.lease), ", which worker ",
                                 issued.worker, " completed: ", failures.reason),
                    now);
  }
  if (!item.failures.empty()) --failed_items_;
  if (issued.lease.kind == Lease::Kind::kTrain) {
    training_.Add(now - issued.at);
    completion.trained_examples = result.examples;
    completion.training = work_.EndStep();
  } else {
    evaluation_.Add(now - issued.at);
    completion.evaluation = work_.EndEvaluation(issued.lease);
  }
  return completion;
}

std::vector<LeaseTable::MissingGradient> LeaseTable::Reopen(int64_t step,
                                                            const std::vector<int32_t>& slots,
                                                            absl::Duration now) {
  std::vector<MissingGradient> missing;
  if (step != work_.step()) return missing;
  for (const int32_t slot : slots) {
    WorkItem* item = work_.FindSlot(slot);
    if (item == nullptr || !item->done || now - item->done_at < kGradientTimeout) continue;
    const std::string worker = item->result.worker;
    roster_.Suspend(worker,
                    absl::StrCat("it reported slot ", slot, " of step ", step,
                                 " without having pushed its gradient"),
                    now);
    *item = WorkItem();
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
    issued.expired = true;
    WorkItem& item = *work_.Find(issued.lease);
    if (item.done) continue;
    --item.holders;
    expired.push_back(issued.lease);
  }
  return expired;
}

}  // namespace percentdelta

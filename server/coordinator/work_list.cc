// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/work_list.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

std::string DescribeFirstFailure(const std::string& name, const std::vector<WorkItem>& items) {
  for (const WorkItem& item : items) {
    if (item.done || item.failures.empty()) continue;
    const auto& [worker, failures] = *item.failures.begin();
    return absl::StrCat(name, " failed on worker ", worker,
                        " and waits for another worker: ", failures.reason);
  }
  return "";
}

}  // namespace

std::string WorkName(const Lease& lease) {
  return lease.kind == Lease::Kind::kTrain
             ? absl::StrCat("slot ", lease.slot, " of step ", lease.step)
             : absl::StrCat("the evaluation of step ", lease.step);
}

WorkList::WorkList(const Job& job, int64_t first_step, bool first_evaluated)
    : job_(job), step_(first_step), confirmed_(first_step) {
  StartStep();
  if (first_evaluated) evaluations_.clear();
}

void WorkList::StartStep() {
  slots_.assign(step_ < job_.max_steps ? job_.gradients_per_step : 0, WorkItem());
  if (!job_.EvaluatesAt(step_)) return;
  const int64_t size = job_.evaluation->batch_size;
  const int64_t parts = (job_.data.test_examples + size - 1) / size;
  evaluations_.push_back({step_, std::vector<WorkItem>(parts), 0, {}});
}

bool WorkList::MayTrain() const {
  // The shards retain one evaluated step besides the current one.
  return evaluations_.empty() || !job_.EvaluatesAt(step_ + 1);
}

std::optional<WorkList::Open> WorkList::FindOpen(
    absl::FunctionRef<bool(const WorkItem& item)> accepts) {
  Lease lease;
  for (Evaluation& evaluation : evaluations_) {
    for (size_t part = 0; part < evaluation.parts.size(); ++part) {
      WorkItem& item = evaluation.parts[part];
      if (item.done || !accepts(item)) continue;
      const int64_t size = job_.evaluation->batch_size;
      lease.kind = Lease::Kind::kEvaluate;
      lease.step = evaluation.step;
      lease.first_example = static_cast<int64_t>(part) * size;
      lease.example_count = std::min(size, job_.data.test_examples - lease.first_example);
      return Open{lease, &item};
    }
  }
  if (!MayTrain()) return std::nullopt;
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    WorkItem& item = slots_[slot];
    if (item.done || !accepts(item)) continue;
    lease.kind = Lease::Kind::kTrain;
    lease.step = step_;
    lease.slot = static_cast<int32_t>(slot);
    lease.batch = BatchOf(job_, lease.step, lease.slot);
    return Open{lease, &item};
  }
  return std::nullopt;
}

WorkItem* WorkList::Find(const Lease& lease) {
  if (lease.kind == Lease::Kind::kTrain) {
    return lease.step == step_ ? &slots_[lease.slot] : nullptr;
  }
  for (Evaluation& evaluation : evaluations_) {
    if (evaluation.step == lease.step) {
      return &evaluation.parts[lease.first_example / job_.evaluation->batch_size];
    }
  }
  return nullptr;
}

WorkItem* WorkList::FindSlot(int32_t slot) {
  if (slot < 0 || slot >= static_cast<int64_t>(slots_.size())) return nullptr;
  return &slots_[slot];
}

int64_t WorkList::ExampleCount(const Lease& lease) const {
  return lease.kind == Lease::Kind::kTrain ? job_.batch_size : lease.example_count;
}

std::optional<ProgressPoint> WorkList::EndEvaluation(const Lease& lease) {
  const auto evaluation =
      std::find_if(evaluations_.begin(), evaluations_.end(),
                   [&](const Evaluation& each) { return each.step == lease.step; });
  if (evaluation == evaluations_.end()) return std::nullopt;
  // In the order of parts. Their number may be large: what has been added is not retained.
  std::vector<WorkItem>& parts = evaluation->parts;
  for (; evaluation->added < parts.size() && parts[evaluation->added].done; ++evaluation->added) {
    evaluation->sums.Add(std::exchange(parts[evaluation->added].result, LeaseResult()));
  }
  if (evaluation->added < parts.size()) return std::nullopt;
  std::optional<ProgressPoint> mean = evaluation->sums.Means(evaluation->step);
  evaluations_.erase(evaluation);
  return mean;
}

std::optional<ProgressPoint> WorkList::EndStep() {
  if (slots_.empty() || step_ >= confirmed_) return std::nullopt;
  if (!absl::c_all_of(slots_, [](const WorkItem& slot) { return slot.done; })) return std::nullopt;
  ResultSums sums;
  contributors_.clear();
  for (const WorkItem& slot : slots_) {
    sums.Add(slot.result);
    contributors_.push_back(slot.worker);
  }
  std::optional<ProgressPoint> mean = sums.Means(step_);
  ++step_;
  StartStep();
  return mean;
}

std::optional<ProgressPoint> WorkList::Confirm(int64_t step) {
  confirmed_ = std::max(confirmed_, step);
  return EndStep();
}

std::string WorkList::DescribeFailure() const {
  for (const Evaluation& evaluation : evaluations_) {
    std::string failure = DescribeFirstFailure(
        absl::StrCat("the evaluation of step ", evaluation.step), evaluation.parts);
    if (!failure.empty()) return failure;
  }
  return DescribeFirstFailure(absl::StrCat("a slot of step ", step_), slots_);
}

int64_t WorkList::oldest_unevaluated() const {
  return evaluations_.empty() ? step_ : evaluations_.front().step;
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/statistics_ring.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

std::vector<int> TrainedTensors(const ModelSpec& model) {
  std::vector<int> trained;
  for (size_t tensor = 0; tensor < model.tensors.size(); ++tensor) {
    if (!model.tensors[tensor].buffer) trained.push_back(static_cast<int>(tensor));
  }
  return trained;
}

}  // namespace

StatisticsRing::StatisticsRing(const Job& job, int64_t capacity)
    : job_(job), model_(job.model), trained_(TrainedTensors(job.model)), capacity_(capacity) {}

void StatisticsRing::Begin(uint64_t generation, int64_t step,
                           const std::vector<StepStatistics>& restored) {
  absl::MutexLock lock(&mutex_);
  generation_ = generation;
  rows_.clear();
  newest_ = -1;
  first_ = step;
  ended_.reset();
  for (const StepStatistics& each : restored) {
    // Takes only what a checkpoint of this job can hold.
    if (each.step < 0 || each.step >= step || each.updates.size() != trained_.size()) {
      continue;
    }
    rows_[each.step] = {each.updates, each.updates.size()};
    newest_ = std::max(newest_, each.step);
    first_ = std::min(first_, each.step);
  }
  if (step == job_.max_steps) ended_ = absl::OkStatus();
}

absl::Status StatisticsRing::Add(uint64_t generation, const TensorStatistics& update) {
  const int tensor = model_.Find(update.tensor);
  if (tensor < 0) {
    return absl::NotFoundError(absl::StrCat("statistics: expected a tensor of the job, got \"",
                                            EscapeForLog(update.tensor, kMaxNameBytes), "\""));
  }
  if (model_.tensors[tensor].buffer) {
    return absl::InvalidArgumentError(absl::StrCat(
        "statistics: expected a tensor that is trained, got ", update.tensor, ", a buffer"));
  }
  if (update.step < 0 || update.step >= job_.max_steps) {
    return absl::InvalidArgumentError(absl::StrCat("statistics: expected a step in 0..",
                                                   job_.max_steps - 1, ", got ", update.step));
  }
  {
    absl::MutexLock lock(&mutex_);
    if (generation == 0 || generation != generation_) {
      return absl::FailedPreconditionError(
          absl::StrCat("generation: expected ", generation_, ", got ", generation));
    }
    if (!rows_.empty() && update.step <= rows_.rbegin()->first - capacity_) return absl::OkStatus();
    Row& row = rows_[update.step];
    row.updates.resize(trained_.size());
    const auto at = std::lower_bound(trained_.begin(), trained_.end(), tensor) - trained_.begin();
    TensorStatistics& place = row.updates[at];
    if (!place.tensor.empty()) return absl::OkStatus();
    place = update;
    place.layer = std::string(model_.tensors[tensor].layer());  // not what the report claims
    ++row.count;
    const bool complete = IsComplete(row);
    // Steps that never become complete are dropped like others.
    rows_.erase(rows_.begin(), rows_.upper_bound(rows_.rbegin()->first - capacity_));
    if (!complete) return absl::OkStatus();
    newest_ = std::max(newest_, update.step);
    if (!ended_ && IsCompleteBeforeLocked(job_.max_steps)) ended_ = absl::OkStatus();
  }
  Notify();
  return absl::OkStatus();
}

bool StatisticsRing::IsCompleteBefore(int64_t step) const {
  absl::MutexLock lock(&mutex_);
  return IsCompleteBeforeLocked(step);
}

bool StatisticsRing::IsCompleteBeforeLocked(int64_t step) const {
  const int64_t newest = rows_.empty() ? step - 1 : rows_.rbegin()->first;
  const int64_t first = std::max(first_, newest - capacity_ + 1);
  int64_t expected = first;
  for (auto row = rows_.lower_bound(first); row != rows_.end() && row->first < step; ++row) {
    if (row->first != expected || !IsComplete(row->second)) return false;
    ++expected;
  }
  return expected >= step;
}

absl::Status StatisticsRing::CheckLayer(const std::string& layer) const {
  if (layer.empty()) return absl::OkStatus();
  std::vector<absl::string_view> layers;
  for (const int trained : trained_) {
    const TensorSpec& tensor = model_.tensors[trained];
    if (tensor.layer() == layer) return absl::OkStatus();
    if (layers.empty() || layers.back() != tensor.layer()) layers.push_back(tensor.layer());
  }
  return absl::NotFoundError(absl::StrCat("layer: expected one of ", absl::StrJoin(layers, ", "),
                                          ", got ", QuoteForLog(layer)));
}

std::vector<StepStatistics> StatisticsRing::Range(int64_t first, int64_t last,
                                                  const std::string& layer) const {
  std::vector<StepStatistics> steps;
  absl::MutexLock lock(&mutex_);
  for (auto row = rows_.lower_bound(first); row != rows_.end() && row->first <= last; ++row) {
    if (!IsComplete(row->second)) continue;
    StepStatistics& step = steps.emplace_back();
    step.step = row->first;
    for (const TensorStatistics& update : row->second.updates) {
      if (layer.empty() || update.layer == layer) step.updates.push_back(update);
    }
  }
  return steps;
}

int64_t StatisticsRing::oldest() const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [step, row] : rows_) {
    if (IsComplete(row)) return step;
  }
  return -1;
}

int64_t StatisticsRing::newest() const {
  absl::MutexLock lock(&mutex_);
  return newest_;
}

void StatisticsRing::End(uint64_t generation, const absl::Status& reason) {
  {
    absl::MutexLock lock(&mutex_);
    if (ended_ || generation != generation_) return;
    ended_ = reason;
  }
  Notify();
}

std::optional<absl::Status> StatisticsRing::ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

void StatisticsRing::Listen(std::weak_ptr<StatisticsListener> listener) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(listeners_, [](const auto& weak) { return weak.expired(); });
  listeners_.push_back(std::move(listener));
}

void StatisticsRing::Notify() {
  std::vector<std::weak_ptr<StatisticsListener>> listeners;
  {
    absl::MutexLock lock(&mutex_);
    listeners = listeners_;
  }
  for (const auto& weak : listeners) {
    if (auto listener = weak.lock()) listener->Changed();
  }
}

}  // namespace percentdelta

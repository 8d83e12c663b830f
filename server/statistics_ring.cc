#include "server/statistics_ring.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

StatisticsRing::StatisticsRing(const ModelSpec& model, int64_t capacity)
    : model_(model), capacity_(capacity) {}

absl::Status StatisticsRing::Add(const TensorUpdate& update) {
  const int tensor = model_.Find(update.tensor);
  if (tensor < 0) {
    return absl::NotFoundError(
        absl::StrCat("statistics: expected a tensor of the job, got \"", update.tensor, "\""));
  }
  if (update.step < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("statistics: expected a step of at least 0, got ", update.step));
  }
  {
    absl::MutexLock lock(&mutex_);
    if (update.step <= newest_ - capacity_) return absl::OkStatus();
    Row& row = rows_[update.step];
    row.updates.resize(model_.tensors.size());
    TensorUpdate& place = row.updates[tensor];
    if (!place.tensor.empty()) return absl::OkStatus();
    place = update;
    ++row.present;
    if (row.present < row.updates.size()) return absl::OkStatus();
    newest_ = std::max(newest_, update.step);
    rows_.erase(rows_.begin(), rows_.upper_bound(newest_ - capacity_));
  }
  Notify();
  return absl::OkStatus();
}

absl::Status StatisticsRing::CheckLayer(const std::string& layer) const {
  if (layer.empty()) return absl::OkStatus();
  std::vector<absl::string_view> layers;
  for (const TensorSpec& tensor : model_.tensors) {
    if (tensor.layer() == layer) return absl::OkStatus();
    if (layers.empty() || layers.back() != tensor.layer()) layers.push_back(tensor.layer());
  }
  return absl::NotFoundError(absl::StrCat("layer: expected one of ", absl::StrJoin(layers, ", "),
                                          ", got \"", layer, "\""));
}

std::vector<StepStatistics> StatisticsRing::Range(int64_t first, int64_t last,
                                                  const std::string& layer) const {
  std::vector<StepStatistics> steps;
  absl::MutexLock lock(&mutex_);
  for (auto row = rows_.lower_bound(first); row != rows_.end() && row->first <= last; ++row) {
    if (row->second.present < model_.tensors.size()) continue;
    StepStatistics& step = steps.emplace_back();
    step.step = row->first;
    for (const TensorUpdate& update : row->second.updates) {
      if (layer.empty() || update.layer == layer) step.updates.push_back(update);
    }
  }
  return steps;
}

int64_t StatisticsRing::oldest() const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [step, row] : rows_) {
    if (row.present == model_.tensors.size()) return step;
  }
  return -1;
}

int64_t StatisticsRing::newest() const {
  absl::MutexLock lock(&mutex_);
  return newest_;
}

void StatisticsRing::Clear() {
  absl::MutexLock lock(&mutex_);
  rows_.clear();
  newest_ = -1;
  ended_ = false;
}

void StatisticsRing::End() {
  {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
  }
  Notify();
}

bool StatisticsRing::ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

void StatisticsRing::Listen(std::weak_ptr<StatisticsListener> listener) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(listeners_, [](const auto& known) { return known.expired(); });
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

// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/histogram_ring.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

// While nothing is written, because the disk is full: 2^20 take about 64 MB.
constexpr size_t kMaxBuckets = size_t{1} << 20;

size_t SliceCount(const ModelSpec& model, const Partition& partition) {
  size_t slices = 0;
  for (size_t tensor = 0; tensor < model.tensors.size(); ++tensor) {
    if (model.tensors[tensor].buffer) continue;
    slices += partition.ranges_of_tensor(static_cast<int>(tensor)).size();
  }
  return slices;
}

size_t BucketCount(const SliceHistograms& histograms) {
  return histograms.weights.counts.size() + histograms.gradient.counts.size();
}

}  // namespace

HistogramRing::HistogramRing(const Job& job, int shard_count, int64_t every_steps)
    : job_(job),
      partition_(job.model, shard_count),
      every_steps_(every_steps),
      slices_(SliceCount(job.model, partition_)) {}

void HistogramRing::Begin(uint64_t generation, int64_t step) {
  absl::MutexLock lock(&mutex_);
  generation_ = generation;
  std::erase_if(rows_, [&](const auto& row) {
    mutex_.AssertHeld();
    const bool ends = row.first >= step || !IsComplete(row.second);
    if (ends) buckets_ -= row.second.buckets;
    return ends;
  });
  written_ = std::min(written_, step);
  expected_ = step;
}

absl::Status HistogramRing::Check(int tensor, const SliceHistograms& histograms) const {
  const int64_t step = histograms.step;
  if (every_steps_ == 0 || step < 0 || step >= job_.max_steps || step % every_steps_ != 0) {
    return absl::InvalidArgumentError(absl::StrCat("histograms: expected a multiple of ",
                                                   every_steps_, " below step ", job_.max_steps,
                                                   ", got step ", step));
  }
  const std::vector<TensorRange>& ranges = partition_.ranges_of_tensor(tensor);
  const auto range = std::find_if(ranges.begin(), ranges.end(), [&](const TensorRange& each) {
    return each.begin == histograms.first_entry;
  });
  if (range == ranges.end() || job_.model.tensors[tensor].buffer) {
    return absl::InvalidArgumentError(
        absl::StrCat("histograms: expected the first entry of a slice of a trained tensor, got ",
                     job_.model.tensors[tensor].name, " from ", histograms.first_entry));
  }
  for (const Histogram* histogram : {&histograms.weights, &histograms.gradient}) {
    if (histogram->entries() == range->size()) continue;
    return absl::InvalidArgumentError(absl::StrCat("histograms: expected ", range->size(),
                                                   " entries of ", job_.model.tensors[tensor].name,
                                                   ", got ", histogram->entries()));
  }
  return absl::OkStatus();
}

absl::Status HistogramRing::Add(uint64_t generation, const SliceHistograms& histograms) {
  const int tensor = job_.model.Find(histograms.tensor);
  if (tensor < 0) {
    return absl::NotFoundError(absl::StrCat("histograms: expected a tensor of the job, got \"",
                                            EscapeForLog(histograms.tensor, kMaxNameBytes), "\""));
  }
  RETURN_IF_ERROR(Check(tensor, histograms));
  absl::MutexLock lock(&mutex_);
  if (generation == 0 || generation != generation_) {
    return absl::FailedPreconditionError(
        absl::StrCat("generation: expected ", generation_, ", got ", generation));
  }
  if (histograms.step < std::max(written_, expected_)) return absl::OkStatus();
  Row& row = rows_[histograms.step];
  if (!row.slices.emplace(tensor, histograms.first_entry).second) return absl::OkStatus();
  TensorHistograms& whole = row.tensors[tensor];
  whole.tensor = histograms.tensor;
  whole.weights.Merge(histograms.weights);
  whole.gradient.Merge(histograms.gradient);
  row.buckets += BucketCount(histograms);
  buckets_ += BucketCount(histograms);
  DropOldest();
  return absl::OkStatus();
}

void HistogramRing::DropOldest() {
  while (buckets_ > kMaxBuckets && rows_.size() > 1) {
    const auto oldest = rows_.begin();
    ++dropped_;
    buckets_ -= oldest->second.buckets;
    expected_ = std::max(expected_, oldest->first + 1);
    rows_.erase(oldest);
  }
}

std::vector<StepHistograms> HistogramRing::Complete() const {
  std::vector<StepHistograms> complete;
  absl::MutexLock lock(&mutex_);
  for (const auto& [step, row] : rows_) {
    if (!IsComplete(row)) continue;
    StepHistograms& each = complete.emplace_back();
    each.step = step;
    each.tensors.reserve(row.tensors.size());
    for (const auto& [tensor, histograms] : row.tensors) each.tensors.push_back(histograms);
  }
  return complete;
}

int64_t HistogramRing::FirstDue(int64_t step) const {
  return (step + every_steps_ - 1) / every_steps_ * every_steps_;
}

int64_t HistogramRing::missing() const {
  if (every_steps_ == 0 || slices_ == 0) return std::numeric_limits<int64_t>::max();
  absl::MutexLock lock(&mutex_);
  int64_t step = FirstDue(std::max(written_, expected_));
  for (auto row = rows_.find(step); row != rows_.end() && IsComplete(row->second); ++row) {
    if (row->first != step) break;
    step += every_steps_;
  }
  return step < job_.max_steps ? step : std::numeric_limits<int64_t>::max();
}

void HistogramRing::SetWritten(uint64_t generation, int64_t step) {
  absl::MutexLock lock(&mutex_);
  if (generation != generation_) return;
  written_ = std::max(written_, step);
  while (!rows_.empty() && rows_.begin()->first < written_) {
    buckets_ -= rows_.begin()->second.buckets;
    rows_.erase(rows_.begin());
  }
}

bool HistogramRing::IsWrittenBefore(int64_t step) const {
  if (every_steps_ == 0) return true;
  absl::MutexLock lock(&mutex_);
  return written_ >= step;
}

int64_t HistogramRing::dropped() const {
  absl::MutexLock lock(&mutex_);
  return dropped_;
}

}  // namespace percentdelta

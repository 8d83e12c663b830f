// SPDX-License-Identifier: Apache-2.0

#include "common/job/job.h"

#include <algorithm>

namespace percentdelta {

int64_t TensorSpec::size() const {
  int64_t entries = 1;
  for (const int64_t dimension : shape) entries *= dimension;
  return entries;
}

absl::string_view TensorSpec::layer() const {
  const absl::string_view whole = name;
  const size_t slash = whole.rfind('/');
  return slash == absl::string_view::npos ? whole : whole.substr(0, slash);
}

int ModelSpec::Find(absl::string_view tensor_name) const {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].name == tensor_name) return static_cast<int>(i);
  }
  return -1;
}

int ModelSpec::trained_tensors() const {
  return static_cast<int>(std::count_if(tensors.begin(), tensors.end(),
                                        [](const TensorSpec& tensor) { return !tensor.buffer; }));
}

int64_t ModelSpec::size() const { return SizeBefore(static_cast<int>(tensors.size())); }

int64_t ModelSpec::SizeBefore(int tensor) const {
  int64_t entries = 0;
  for (int before = 0; before < tensor; ++before) entries += tensors[before].size();
  return entries;
}

bool Job::EvaluatesAt(int64_t step) const {
  return evaluation.has_value() && (step == max_steps || step % evaluation->every_steps == 0);
}

bool Job::CheckpointsAt(int64_t step) const {
  if (!checkpoint || step == 0) return false;
  return step == max_steps || step % checkpoint->every_steps == 0;
}

BatchId BatchOf(const Job& job, int64_t step, int32_t slot) {
  const int64_t gradient = step * job.gradients_per_step + slot;
  return {gradient / job.batches_per_epoch(), gradient % job.batches_per_epoch()};
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/initial_content.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "common/base/status_macros.h"
#include "common/job/initial_weights_file.h"
#include "common/job/job_validation.h"
#include "server/update/optimizer.h"

namespace percentdelta {

InitialContent::InitialContent(Job job, std::vector<TensorRange> ranges, Logger log)
    : job_(std::move(job)), ranges_(std::move(ranges)), log_(std::move(log)) {}

absl::Status InitialContent::Read() {
  if (!job_.initial_weights) return absl::OkStatus();
  const InitialWeightsSpec& spec = *job_.initial_weights;
  log_->info("reading initial weights file=\"{}\" sha256={}", spec.file, spec.sha256);
  ASSIGN_OR_RETURN(weights_, ReadInitialWeights(job_, ranges_));
  WarnOfZeros(*weights_);
  log_->info("read initial weights file=\"{}\"", spec.file);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SliceContent>> InitialContent::Take() {
  std::vector<SliceContent> slices;
  if (!job_.initial_weights) return slices;
  if (!weights_) RETURN_IF_ERROR(Read());
  for (size_t i = 0; i < ranges_.size(); ++i) {
    SliceContent slice;
    slice.range = ranges_[i];
    slice.weights = std::make_shared<const std::vector<float>>(std::move((*weights_)[i]));
    const size_t states = StateNames(job_, job_.model.tensors[slice.range.tensor]).size();
    for (size_t state = 0; state < states; ++state) {
      slice.state.push_back(std::make_shared<std::vector<float>>(ranges_[i].size()));
    }
    slices.push_back(std::move(slice));
  }
  weights_.reset();
  return slices;
}

void InitialContent::WarnOfZeros(const std::vector<std::vector<float>>& weights) const {
  for (size_t i = 0; i < ranges_.size(); ++i) {
    const TensorSpec& tensor = job_.model.tensors[ranges_[i].tensor];
    // Of a tensor that is split, this shard does not see the rest.
    if (ranges_[i].size() != tensor.size()) continue;
    if (std::any_of(weights[i].begin(), weights[i].end(), [](float w) { return w != 0; })) continue;
    const std::string warning = WarningOfZeros(job_, tensor);
    if (!warning.empty()) log_->warn("job warning=\"{}\"", warning);
  }
}

}  // namespace percentdelta

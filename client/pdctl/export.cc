// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/export.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/safetensors.h"

namespace percentdelta {

absl::Status ExportWeights(const std::string& path, const ClusterInfo& info,
                           const Weights& weights) {
  std::vector<SafetensorsEntry> entries;
  for (size_t i = 0; i < weights.values.size(); ++i) {
    const TensorSpec& tensor = info.job.model.tensors[i];
    entries.push_back({tensor.name, tensor.shape, weights.values[i]});
  }
  return WriteSafetensors(path, entries,
                          {{"format", "pt"},
                           {"job_name", info.job.name},
                           {"job_hash", info.job_hash},
                           {"step", absl::StrCat(weights.step)},
                           {"weights_sha256", ChecksumOf(weights)}});
}

}  // namespace percentdelta

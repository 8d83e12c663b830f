// SPDX-License-Identifier: Apache-2.0

// Exports weights to a file that other frameworks read.

#ifndef PERCENTDELTA_CLIENT_PDCTL_EXPORT_H_
#define PERCENTDELTA_CLIENT_PDCTL_EXPORT_H_

#include <string>

#include "absl/status/status.h"
#include "client/cluster.h"

namespace percentdelta {

// Writes the weights as safetensors, with the tensor names and shapes of the job. The metadata
// contain job_name, job_hash, step and weights_sha256. Errors: see WriteSafetensors.
absl::Status ExportWeights(const std::string& path, const ClusterInfo& info,
                           const Weights& weights);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_EXPORT_H_

// Weights as a file that other frameworks read.

#ifndef PERCENTDELTA_CLIENT_PDCTL_EXPORT_H_
#define PERCENTDELTA_CLIENT_PDCTL_EXPORT_H_

#include <string>

#include "absl/status/status.h"
#include "client/cluster.h"

namespace percentdelta {

// Writes the weights as safetensors under the job's tensor names and shapes. The metadata hold
// job_name, job_hash, step and weights_sha256. Errors: WriteSafetensors.
absl::Status ExportWeights(const std::string& path, const ClusterInfo& job, const Weights& weights);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_EXPORT_H_

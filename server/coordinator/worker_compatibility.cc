// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_compatibility.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {

void WorkerCompatibility::Restore(const std::string& arithmetic, const std::string& data) {
  if (!arithmetic.empty()) arithmetic_ = arithmetic;
  if (!data.empty()) data_ = data;
}

absl::Status WorkerCompatibility::Check(const WorkerIdentity& worker) {
  RETURN_IF_ERROR(CheckName("worker", worker.name));
  RETURN_IF_ERROR(CheckName("arithmetic", worker.arithmetic));
  RETURN_IF_ERROR(CheckName("data", worker.data));
  if (arithmetic_.empty()) arithmetic_ = worker.arithmetic;
  if (worker.arithmetic != arithmetic_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "worker ", worker.name, ": expected arithmetic ", arithmetic_,
        " as the first worker's, got ", worker.arithmetic,
        ": the weights' last bits would depend on which worker computed; start every worker from"
        " the same version, with an --isa that all have"));
  }
  if (data_.empty()) data_ = worker.data;
  if (!worker.data.empty() && worker.data != data_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "worker ", worker.name, ": expected the first worker's data ", data_.substr(0, 12),
        ", got data ", worker.data.substr(0, 12),
        " of the same size: the weights would depend on which worker computed; give every worker"
        " the same data set with --data"));
  }
  return absl::OkStatus();
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_compatibility.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {

void WorkerCompatibility::Restore(const std::string& arithmetic,
                                  const std::vector<std::string>& other_arithmetic,
                                  const std::string& data) {
  if (!data.empty()) data_ = data;
  if (arithmetic.empty()) return;
  const std::string known = std::exchange(arithmetic_, arithmetic);
  if (!any_arithmetic_) return;
  const std::vector<std::string> others = std::exchange(other_arithmetic_, {});
  for (const std::string& other : other_arithmetic) Remember(other);
  Remember(known);
  for (const std::string& other : others) Remember(other);
}

void WorkerCompatibility::Remember(const std::string& arithmetic) {
  if (arithmetic.empty() || arithmetic == arithmetic_) return;
  if (arithmetic_.empty()) {
    arithmetic_ = arithmetic;
  } else if (other_arithmetic_.size() < kMaxOthers &&
             !absl::c_linear_search(other_arithmetic_, arithmetic)) {
    other_arithmetic_.push_back(arithmetic);
  }
}

absl::Status WorkerCompatibility::CheckArithmetic(const WorkerIdentity& worker) const {
  if (any_arithmetic_ || arithmetic_.empty() || worker.arithmetic == arithmetic_) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "worker ", worker.name, ": expected arithmetic ", arithmetic_, " as the first worker's, got ",
      worker.arithmetic.empty() ? "none" : worker.arithmetic,
      ": the weights' last bits would depend on which worker computed; start every worker from"
      " the same version, with an --isa that all have, or give up equal bits with any_arithmetic"
      " in the job"));
}

absl::Status WorkerCompatibility::Check(const WorkerIdentity& worker) {
  RETURN_IF_ERROR(CheckName("worker", worker.name));
  RETURN_IF_ERROR(CheckPrintableAscii("arithmetic", worker.arithmetic, kMaxArithmeticBytes));
  RETURN_IF_ERROR(CheckName("data", worker.data));
  RETURN_IF_ERROR(CheckArithmetic(worker));
  if (data_.empty()) data_ = worker.data;
  if (!worker.data.empty() && worker.data != data_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "worker ", worker.name, ": expected the first worker's data ", data_.substr(0, 12),
        ", got data ", worker.data.substr(0, 12),
        " of the same size: the weights would depend on which worker computed; give every worker"
        " the same data set with --data"));
  }
  Remember(worker.arithmetic);
  return absl::OkStatus();
}

}  // namespace percentdelta

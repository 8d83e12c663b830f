// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/worker_compatibility.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxGiven = 64;

// What most of the workers say that say anything; the first of those that are equally frequent.
std::string MostCommon(const std::vector<WorkerIdentity>& workers,
                       std::string WorkerIdentity::*member) {
  std::string result;
  std::ptrdiff_t most = 0;
  for (const WorkerIdentity& worker : workers) {
    const std::string& said = worker.*member;
    if (said.empty()) continue;
    const std::ptrdiff_t count = absl::c_count_if(
        workers, [&](const WorkerIdentity& other) { return other.*member == said; });
    if (count <= most) continue;
    most = count;
    result = said;
  }
  return result;
}

}  // namespace

void WorkerCompatibility::Restore(const std::string& arithmetic,
                                  const std::vector<std::string>& other_arithmetic,
                                  const std::string& data) {
  given_.clear();
  too_many_given_ = false;
  if (!data.empty()) data_ = data;
  if (arithmetic.empty()) return;
  decided_ = true;
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

absl::Status WorkerCompatibility::CheckData(const WorkerIdentity& worker) const {
  if (data_.empty() || worker.data.empty() || worker.data == data_) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "worker ", worker.name, ": expected the first worker's data ", data_.substr(0, 12),
      ", got data ", worker.data.substr(0, 12),
      " of the same size: the weights would depend on which worker computed; give every worker"
      " the same data set with --data"));
}

absl::Status WorkerCompatibility::Check(const WorkerIdentity& worker) const {
  RETURN_IF_ERROR(CheckName("worker", worker.name));
  RETURN_IF_ERROR(CheckPrintableAscii("arithmetic", worker.arithmetic, kMaxArithmeticBytes));
  RETURN_IF_ERROR(CheckName("data", worker.data));
  RETURN_IF_ERROR(CheckArithmetic(worker));
  return CheckData(worker);
}

void WorkerCompatibility::Give(const WorkerIdentity& worker) {
  if (any_arithmetic_) Remember(worker.arithmetic);
  if (decided_ || too_many_given_) return;
  const bool known = absl::c_any_of(given_, [&](const WorkerIdentity& kind) {
    return kind.arithmetic == worker.arithmetic && kind.data == worker.data;
  });
  if (known) return;
  too_many_given_ = given_.size() >= kMaxGiven;
  if (!too_many_given_) given_.push_back({"", worker.arithmetic, worker.data});
}

bool WorkerCompatibility::GivenAlike() const {
  return !too_many_given_ && absl::c_all_of(given_, [&](const WorkerIdentity& kind) {
    return CheckArithmetic(kind).ok() && CheckData(kind).ok();
  });
}

bool WorkerCompatibility::Deliver(const std::vector<WorkerIdentity>& workers) {
  if (!any_arithmetic_ && arithmetic_.empty()) {
    arithmetic_ = MostCommon(workers, &WorkerIdentity::arithmetic);
    new_decision_ |= !arithmetic_.empty();
  }
  if (data_.empty()) {
    data_ = MostCommon(workers, &WorkerIdentity::data);
    new_decision_ |= !data_.empty();
  }
  if (std::exchange(decided_, true)) return true;
  const bool alike = GivenAlike();
  given_.clear();
  return alike;
}

const std::string& WorkerCompatibility::arithmetic() const {
  return !arithmetic_.empty() || given_.empty() ? arithmetic_ : given_.front().arithmetic;
}

const std::string& WorkerCompatibility::data() const {
  if (!data_.empty()) return data_;
  const auto named =
      absl::c_find_if(given_, [](const WorkerIdentity& kind) { return !kind.data.empty(); });
  return named == given_.end() ? data_ : named->data;
}

}  // namespace percentdelta

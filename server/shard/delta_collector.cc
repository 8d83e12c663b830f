// SPDX-License-Identifier: Apache-2.0

#include "server/shard/delta_collector.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

// How far a step may be overtaken before it is given up: in the half second after which a shard
// calls again, a small model completes many steps.
constexpr size_t kOpenSteps = 4096;

}  // namespace

DeltaCollector::DeltaCollector(const ModelSpec& model, const Partition& partition, int shard,
                               int64_t first_step)
    : model_(model),
      partition_(partition),
      shard_(shard),
      tensors_(model.tensors.size(), Tensor{first_step, {}}) {}

void DeltaCollector::Open(const DeltaSums& sums, DeltaCallback done) { Add(sums, std::move(done)); }

absl::Status DeltaCollector::Contribute(const DeltaSums& sums, int64_t current) {
  RETURN_IF_ERROR(CheckSliceSums(model_, partition_, shard_, sums));
  if (sums.step > current) {
    return absl::FailedPreconditionError(absl::StrCat("tensor ", model_.tensors[sums.tensor].name,
                                                      ": expected step ", current,
                                                      " or before, got ", sums.step));
  }
  Add(sums, nullptr);
  return absl::OkStatus();
}

void DeltaCollector::Add(const DeltaSums& sums, DeltaCallback done) {
  double delta_l1 = 0;
  {
    absl::MutexLock lock(&mutex_);
    Tensor& tensor = tensors_[sums.tensor];
    if (sums.step < tensor.past) return;
    Collection& collection = tensor.open[sums.step];
    if (collection.complete) return;
    collection.sums.Add(sums);
    if (done) collection.done = std::move(done);
    const size_t slices = partition_.ranges_of_tensor(sums.tensor).size();
    if (collection.done && collection.sums.slices() == slices) {
      delta_l1 = collection.sums.Total();
      done = std::exchange(collection.done, nullptr);
      collection = {{}, nullptr, true};
    } else {
      done = nullptr;
    }
    while (!tensor.open.empty() &&
           ((tensor.open.begin()->first == tensor.past && tensor.open.begin()->second.complete) ||
            tensor.open.size() > kOpenSteps)) {
      tensor.past = tensor.open.begin()->first + 1;
      tensor.open.erase(tensor.open.begin());
    }
  }
  if (done) done(delta_l1);
}

}  // namespace percentdelta

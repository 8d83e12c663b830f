#include "server/shard/delta_collector.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

// How far a step may be overtaken before it is given up: a shard that is asked again after half a
// second has let many steps of a small model pass.
constexpr size_t kOpenSteps = 4096;

}  // namespace

DeltaCollector::DeltaCollector(const ModelSpec& model, const Partition& partition, int shard,
                               int64_t first_step)
    : model_(model),
      partition_(partition),
      shard_(shard),
      tensors_(model.tensors.size(), Tensor{first_step, {}}) {}

void DeltaCollector::Open(const DeltaSums& sums, DeltaCallback done) { Add(sums, std::move(done)); }

absl::Status DeltaCollector::Contribute(const DeltaSums& sums, int64_t present) {
  const std::string& name = model_.tensors[sums.tensor].name;
  const int home = partition_.home(sums.tensor);
  if (home != shard_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tensor ", name, ": expected at its home, shard ", home, ", got at shard ", shard_));
  }
  const std::vector<TensorRange>& slices = partition_.ranges_of_tensor(sums.tensor);
  const bool is_slice = std::any_of(slices.begin(), slices.end(), [&](const TensorRange& slice) {
    return slice.first_block() == sums.first_block &&
           slice.blocks() == static_cast<int64_t>(sums.blocks.size());
  });
  if (!is_slice) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, ": expected the block sums of a slice, got ",
                     sums.blocks.size(), " blocks from block ", sums.first_block));
  }
  // Not finite they may be: a training that diverges ends with its loss.
  if (std::any_of(sums.blocks.begin(), sums.blocks.end(), [](double sum) { return sum < 0; })) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, ": expected sums that are not negative, got another"));
  }
  if (sums.step > present) {
    return absl::FailedPreconditionError(
        absl::StrCat("tensor ", name, ": expected step ", present, " or before, got ", sums.step));
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
    collection.parts.emplace(sums.first_block, sums.blocks);
    if (done) collection.done = std::move(done);
    const size_t slices = partition_.ranges_of_tensor(sums.tensor).size();
    if (collection.done && collection.parts.size() == slices) {
      for (const auto& [first_block, blocks] : collection.parts) {
        for (const double block : blocks) delta_l1 += block;  // in block order, across slices
      }
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

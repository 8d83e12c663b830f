#include "server/shard/norm_reducer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

// A training that diverges has sums that are infinite or no number. It goes on until the workers
// find that its loss is none, which is the better message.
bool IsSum(double value) { return !(value < 0); }

bool AreSums(const NormSums& sums) {
  return IsSum(sums.ratio_l1) && IsSum(sums.gradient_l1) && IsSum(sums.weight_l1) &&
         IsSum(sums.gradient_l2_squared) && IsSum(sums.weight_l2_squared);
}

}  // namespace

NormReducer::NormReducer(const ModelSpec& model, const Partition& partition, int shard,
                         int64_t first_step)
    : model_(model),
      partition_(partition),
      shard_(shard),
      first_step_(first_step),
      collections_(model.tensors.size()) {
  for (Collection& collection : collections_) collection.step = first_step;
}

absl::Status NormReducer::Check(const BlockSums& sums) const {
  const std::string& name = model_.tensors[sums.tensor].name;
  if (partition_.home(sums.tensor) != shard_) {
    return absl::FailedPreconditionError(
        absl::StrCat("tensor ", name, ": expected at its home, shard ",
                     partition_.home(sums.tensor), ", got at shard ", shard_));
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
  if (!std::all_of(sums.blocks.begin(), sums.blocks.end(), AreSums)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, ": expected sums that are not negative, got another"));
  }
  return absl::OkStatus();
}

void NormReducer::Contribute(const BlockSums& sums, NormsCallback done) {
  if (absl::Status status = Check(sums); !status.ok()) return done(status);
  std::vector<NormsCallback> answered;
  absl::StatusOr<NormSums> answer;
  {
    absl::MutexLock lock(&mutex_);
    Collection& collection = collections_[sums.tensor];
    if (!closed_.ok()) {
      answer = closed_;
      answered.push_back(std::move(done));
    } else if (collection.step > first_step_ && sums.step == collection.step - 1) {
      answer = collection.last;
      answered.push_back(std::move(done));
    } else if (sums.step != collection.step) {
      answer = absl::FailedPreconditionError(
          absl::StrCat("tensor ", model_.tensors[sums.tensor].name, ": expected the norms of step ",
                       collection.step, ", got those of step ", sums.step));
      answered.push_back(std::move(done));
    } else {
      collection.waiting.push_back(std::move(done));
      collection.parts.emplace(sums.first_block, sums.blocks);
      if (collection.parts.size() < partition_.ranges_of_tensor(sums.tensor).size()) return;
      NormSums norms;
      for (const auto& [first_block, blocks] : collection.parts) {
        for (const NormSums& block : blocks) norms += block;  // in block order, across slices
      }
      answer = norms;
      collection.last = norms;
      collection.parts.clear();
      ++collection.step;
      answered.swap(collection.waiting);
    }
  }
  for (const NormsCallback& callback : answered) callback(answer);
}

void NormReducer::Close(const absl::Status& reason) {
  std::vector<NormsCallback> waiting;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = reason;
    for (Collection& collection : collections_) {
      for (NormsCallback& callback : collection.waiting) waiting.push_back(std::move(callback));
      collection.waiting.clear();
    }
  }
  for (const NormsCallback& callback : waiting) callback(reason);
}

}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/shard/norm_reducer.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace percentdelta {

template <typename Sum>
Reducer<Sum>::Reducer(const ModelSpec& model, const Partition& partition, int shard,
                      int64_t first_step)
    : model_(model),
      partition_(partition),
      shard_(shard),
      first_step_(first_step),
      collections_(model.tensors.size()) {
  for (Collection& collection : collections_) collection.step = first_step;
}

template <typename Sum>
void Reducer<Sum>::Contribute(const SliceSums<Sum>& sums, ReductionCallback<Sum> done) {
  if (absl::Status status = CheckSliceSums(model_, partition_, shard_, sums); !status.ok()) {
    return done(status);
  }
  std::vector<ReductionCallback<Sum>> answered;
  absl::StatusOr<Sum> answer;
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
      collection.sums.Add(sums);
      if (collection.sums.slices() < partition_.ranges_of_tensor(sums.tensor).size()) return;
      collection.last = collection.sums.Total();
      answer = collection.last;
      collection.sums.Clear();
      ++collection.step;
      answered.swap(collection.waiting);
    }
  }
  for (const ReductionCallback<Sum>& callback : answered) callback(answer);
}

template <typename Sum>
void Reducer<Sum>::Close(const absl::Status& reason) {
  std::vector<ReductionCallback<Sum>> waiting;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = reason;
    for (Collection& collection : collections_) {
      for (auto& callback : collection.waiting) waiting.push_back(std::move(callback));
      collection.waiting.clear();
    }
  }
  for (const ReductionCallback<Sum>& callback : waiting) callback(reason);
}

template class Reducer<NormSums>;
template class Reducer<DeltaNorms>;

}  // namespace percentdelta

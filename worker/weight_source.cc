// SPDX-License-Identifier: Apache-2.0

#include "worker/weight_source.h"

#include <utility>

namespace percentdelta {

WeightSource::WeightSource(const ShardChannels& channels, absl::Duration deadline, Tracer tracer)
    : channels_(channels), deadline_(deadline), tracer_(std::move(tracer)) {}

void WeightSource::SelectStep(int64_t step) {
  if (current_->Has(step)) return;
  if (next_->Has(step)) {
    std::swap(current_, next_);
  } else {
    Pull(*current_, step);
  }
}

absl::Status WeightSource::Await(int tensor) { return current_->pull->AwaitTensor(tensor); }

void WeightSource::Prefetch(int64_t step) {
  if (!next_->Has(step)) Pull(*next_, step);
}

void WeightSource::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  for (WeightPull* pull : pulls_) pull->Cancel();
}

void WeightSource::Pull(Version& version, int64_t step) {
  if (version.pull) {
    absl::MutexLock lock(&mutex_);
    pulls_.erase(&*version.pull);
  }
  version.pull.reset();  // cancels it if it still runs
  version.step = step;
  version.pull.emplace(channels_, step, deadline_, version.weights, tracer_);
  absl::MutexLock lock(&mutex_);
  pulls_.insert(&*version.pull);
  if (cancelled_) version.pull->Cancel();
}

}  // namespace percentdelta

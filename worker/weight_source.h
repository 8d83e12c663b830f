// SPDX-License-Identifier: Apache-2.0

// The weights that a worker computes with: those of one step, while those of the next are already
// being pulled.

#ifndef PERCENTDELTA_WORKER_WEIGHT_SOURCE_H_
#define PERCENTDELTA_WORKER_WEIGHT_SOURCE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/pull.h"
#include "client/shard_channels.h"
#include "common/base/trace.h"
#include "worker/models/model.h"

namespace percentdelta {

// For one generation. Not thread-safe but for Cancel. Holds two copies of the model's weights.
class WeightSource {
 public:
  // `channels` must outlive the source. `deadline` is that of each pull.
  WeightSource(const ShardChannels& channels, absl::Duration deadline, Tracer tracer);

  // Selects the weights of `step`: those held or being pulled already, or else a fresh pull.
  void SelectStep(int64_t step);

  // Waits until a tensor of that step is complete. Errors: WeightPull's.
  absl::Status Await(int tensor);

  // The values: each tensor's from its Await on, until the next SelectStep.
  const TensorValues& weights() const { return current_->weights; }

  // Begins to pull a step that is likely to be the next. Its slices arrive as the shards publish
  // them, the large ones of the last layers long before the first layers' gradients are computed.
  void Prefetch(int64_t step);

  // Ends all pulls, later ones too: Await returns kCancelled. May be called from any thread.
  void Cancel();

 private:
  struct Version {
    TensorValues weights;
    int64_t step = -1;
    std::optional<WeightPull> pull;  // into `weights`

    bool Has(int64_t wanted) const { return step == wanted && pull && !pull->failed(); }
  };

  void Pull(Version& version, int64_t step) ABSL_LOCKS_EXCLUDED(mutex_);

  const ShardChannels& channels_;
  const absl::Duration deadline_;
  const Tracer tracer_;

  // Held when a pull begins or ends, and by Cancel, which reads `pulls_` from another thread.
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<WeightPull*> pulls_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<Version> current_ = std::make_unique<Version>();
  std::unique_ptr<Version> next_ = std::make_unique<Version>();
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_WEIGHT_SOURCE_H_

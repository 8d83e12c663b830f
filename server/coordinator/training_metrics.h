// SPDX-License-Identifier: Apache-2.0

// What metrics show of a training, besides the statistics of tensors.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_TRAINING_METRICS_H_
#define PERCENTDELTA_SERVER_COORDINATOR_TRAINING_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "common/base/duration_histogram.h"
#include "common/cluster/progress.h"

namespace percentdelta {

struct TrainingMetrics {
  Progress progress;                        // without its curves
  std::optional<ProgressPoint> training;    // the newest point; nullopt: none yet
  std::optional<ProgressPoint> evaluation;  // the newest point; nullopt: none yet
  int missing_shards = 0;
  size_t waiting_calls = 0;  // for a lease

  // Since the process started.
  int64_t generations = 0;
  int64_t leases_given = 0;
  int64_t examples = 0;    // of completed training leases
  int64_t not_finite = 0;  // leases that failed because the loss or the gradient was not finite
  int64_t checkpoints_completed = 0;
  DurationHistogram::Counts pull;  // parts of completed training leases
  DurationHistogram::Counts compute;
  DurationHistogram::Counts push;

  // When the newest checkpoint was completed; if it was restored, when it was read. Nullopt: there
  // is none.
  std::optional<absl::Time> checkpoint_time;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_TRAINING_METRICS_H_

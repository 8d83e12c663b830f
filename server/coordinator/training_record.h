// SPDX-License-Identifier: Apache-2.0

// What is recorded and logged of a training: its curves, the counts of leases that went wrong, its
// end.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_TRAINING_RECORD_H_
#define PERCENTDELTA_SERVER_COORDINATOR_TRAINING_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/time/time.h"
#include "common/base/duration_histogram.h"
#include "common/base/log.h"
#include "common/cluster/heartbeat.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"
#include "server/coordinator/lease_table.h"
#include "server/coordinator/progress_history.h"
#include "server/coordinator/training_metrics.h"

namespace percentdelta {

// Not thread-safe. Counts are since the process started; they do not restart with a generation.
class TrainingRecord {
 public:
  // Retains at most `capacity` points of each curve.
  TrainingRecord(size_t capacity, int64_t max_steps, Logger log)
      : history_(capacity), max_steps_(max_steps), log_(std::move(log)) {}

  ProgressHistory& history() { return history_; }
  const ProgressHistory& history() const { return history_; }

  // A generation replaces `previous` (null: there was none). Its curves: history().Begin().
  void Begin(const LeaseTable* previous);

  void AddExpired(const Lease& lease);
  void AddMissing(const ShardBeat& beat, const LeaseTable::MissingGradient& missing);

  // A result was taken. `step`: the current one.
  void AddResult(const LeaseTable::Completion& completion, const LeaseResult& result, int64_t step,
                 absl::Duration now);

  // A step ended, with this mean. `step`: the current one.
  void AddStep(ProgressPoint mean, int64_t step, absl::Duration now);

  // Logs the end of the training, once for each generation, if `state` is that of one.
  void LogEnd(TrainingState state, const LeaseTable& leases);

  // For metrics: sums since the process started, and the newest point of each curve.
  void FillMetrics(const LeaseTable* leases, TrainingMetrics& metrics) const;

  // Fills in the curves of these steps, rates and counts. `leases`: of the current generation,
  // null: none is open.
  void Fill(int64_t from_step, int64_t last_step, absl::Duration now, const LeaseTable* leases,
            Progress& progress) const;

 private:
  ProgressHistory history_;
  const int64_t max_steps_;
  const Logger log_;
  absl::Duration last_log_ = -absl::InfiniteDuration();
  bool end_logged_ = false;
  int64_t expired_ = 0;
  int64_t failed_ = 0;
  int64_t duplicates_ = 0;
  int64_t speculative_ = 0;  // of earlier generations
  int64_t issued_ = 0;       // of earlier generations
  int64_t generations_ = 0;
  int64_t examples_ = 0;
  int64_t not_finite_ = 0;
  DurationHistogram pull_;
  DurationHistogram compute_;
  DurationHistogram push_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_TRAINING_RECORD_H_

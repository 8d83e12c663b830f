// SPDX-License-Identifier: Apache-2.0

// The progress of a training, as the coordinator tracks it and pdctl, pd-local and reports show it.

#ifndef PERCENTDELTA_COMMON_CLUSTER_PROGRESS_H_
#define PERCENTDELTA_COMMON_CLUSTER_PROGRESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/cluster/metrics.h"

namespace percentdelta {

enum class TrainingState {
  kGathering,  // not all shards have registered
  kTraining,
  kFinished,
  kFailed,
  kPaused,    // no leases are given out until an operator resumes
  kDraining,  // an operator ends the cluster: the checkpoint is not complete yet
  kDrained,   // it is: workers and servers are ending
};
absl::string_view ToString(TrainingState state);  // "gathering", "training", ...

// A mean over examples at the weights of `step`: a step's training batches, or the whole test set.
struct ProgressPoint {
  int64_t step = 0;
  double loss = 0;
  double accuracy = 0;  // 0..1
  double seconds = 0;   // since the first lease of the generation
  std::vector<Metric> metrics = {};
};

struct CheckpointProgress {
  int64_t step = -1;  // of the newest complete one; -1: none yet
  bool under_way = false;
  int64_t failures = 0;  // since the coordinator's process started
  std::string error;     // of the last one, if it failed
  int64_t skipped = 0;   // due while another was being written, since the process started
};

// The parts of a training lease's time.
struct LeaseTimes {
  absl::Duration pull;  // waiting for weights
  absl::Duration compute;
  absl::Duration push;  // waiting until the shards have accepted the gradient
};

struct Progress {
  TrainingState state = TrainingState::kGathering;
  std::string message;  // why it failed, what it waits for, or what delays it; may be empty
  std::string job_name;
  std::string job_hash;
  uint64_t generation = 0;
  int shard_count = 0;
  int64_t step = 0;  // the current one; max_steps when finished
  int64_t max_steps = 0;
  int workers = 0;                 // that called in the last minute
  double examples_per_second = 0;  // over the last minute; 0: not yet known
  int64_t expired_leases = 0;
  int64_t failed_leases = 0;
  int64_t duplicate_results = 0;
  int64_t speculative_leases = 0;  // assigned to a second worker because the first was slow
  std::optional<CheckpointProgress> checkpoint;  // nullopt: the job has no checkpoints
  std::string arithmetic;       // how the workers compute, or the first one; empty: no worker yet
  bool any_arithmetic = false;  // the job's: see kAnyArithmeticNote (job.h)
  std::vector<std::string> other_arithmetic;  // with any_arithmetic: other workers'
  std::string data;                           // fingerprint of their data; empty: unknown
  std::optional<LeaseTimes> mean_times;       // over the last minute; nullopt: no lease completed
  std::vector<ProgressPoint> training;        // ascending steps
  std::vector<ProgressPoint> evaluations;     // ascending steps
};

// Estimated time for the remaining steps at the mean pace so far. Zero: unknown, or none remain.
absl::Duration TimeLeft(const Progress& progress);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_PROGRESS_H_

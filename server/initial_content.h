// SPDX-License-Identifier: Apache-2.0

// What this process's shard begins with at step 0, if the job takes its weights from a file.

#ifndef PERCENTDELTA_SERVER_INITIAL_CONTENT_H_
#define PERCENTDELTA_SERVER_INITIAL_CONTENT_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/log.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/checkpoint/slice_content.h"

namespace percentdelta {

// Movable. Not thread-safe: used by the thread that starts the server, then by the ClusterLink's.
class InitialContent {
 public:
  // Of the shard that owns `ranges`.
  InitialContent(Job job, std::vector<TensorRange> ranges, Logger log);

  // Reads the file (initial_weights_file.h, which has the errors), so that a problem with it ends
  // the program at once, and keeps the weights for Take(). Warns of tensors that are zero and that
  // the job's rule cannot move. Does nothing if the job names no file.
  absl::Status Read();

  // The slices, which are the caller's; empty if the job names no file: then they are drawn
  // (initial_weights.h). Reads the file if Read() has not been called since the last Take(), as
  // for a training that starts again at step 0.
  absl::StatusOr<std::vector<SliceContent>> Take();

  // Frees what Read() keeps: the training starts with a checkpoint.
  void Drop() { weights_.reset(); }

 private:
  void WarnOfZeros(const std::vector<std::vector<float>>& weights) const;

  Job job_;
  std::vector<TensorRange> ranges_;
  Logger log_;
  std::optional<std::vector<std::vector<float>>> weights_;  // by range
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_INITIAL_CONTENT_H_

// SPDX-License-Identifier: Apache-2.0

// The examples of each batch: a function of seed, epoch and index that is specified to the last
// bit, so that every worker, on every platform, uses the same.

#ifndef PERCENTDELTA_WORKER_DATA_BATCHES_H_
#define PERCENTDELTA_WORKER_DATA_BATCHES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace percentdelta {

// Returns the order of the examples 0 ... examples - 1 in the epoch: Fisher and Yates's shuffle of
// the ascending order, with the random numbers of
//   RandomStream(seed, Hash64(HashString("epoch order"), epoch)):
// for i = examples - 1 down to 1, entry i is swapped with entry Below(i + 1).
std::vector<int64_t> EpochOrder(uint64_t seed, int64_t epoch, int64_t examples);

// Returns the key of all random numbers in a gradient, as in RandomStream(key, example): a function
// of the gradient's place in the training, whichever worker computes it.
//   Hash64(seed, Hash64(HashString("gradient"), Hash64(step, slot)))
uint64_t GradientKey(uint64_t seed, int64_t step, int32_t slot);

// The batches of a data set. Keeps the order of the epoch last used. Not thread-safe.
class BatchSource {
 public:
  // `examples` >= 1: their number.
  BatchSource(uint64_t seed, int64_t examples);

  // Returns the entries from batch_index * batch_size on of the epoch's order: `batch_size` of
  // them, or fewer, possibly none, at the end of the epoch. Valid until the next call. `epoch` and
  // `batch_index` >= 0, `batch_size` >= 1.
  absl::Span<const int64_t> Examples(int64_t epoch, int64_t batch_index, int64_t batch_size);

 private:
  const uint64_t seed_;
  const int64_t examples_;
  int64_t epoch_ = -1;  // the epoch of `order_`; -1: none yet
  std::vector<int64_t> order_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_BATCHES_H_

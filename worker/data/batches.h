// Which examples a batch holds: a function of seed, epoch and index that is written down to the
// last bit, so that every worker, on every platform, takes the same.

#ifndef PERCENTDELTA_WORKER_DATA_BATCHES_H_
#define PERCENTDELTA_WORKER_DATA_BATCHES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace percentdelta {

// The order in which the epoch passes over the examples 0 ... examples - 1: Fisher and Yates's
// shuffle of the ascending order, with the random numbers of
//   RandomStream(seed, Hash64(HashString("epoch order"), epoch)):
// for i = examples - 1 down to 1, entry i changes places with entry Below(i + 1).
std::vector<int64_t> EpochOrder(uint64_t seed, int64_t epoch, int64_t examples);

// Names whatever is random in a gradient, as in RandomStream(key, example): a function of the
// gradient's place in the training, whoever computes it.
//   Hash64(seed, Hash64(HashString("gradient"), Hash64(step, slot)))
uint64_t GradientKey(uint64_t seed, int64_t step, int32_t slot);

// Batches of a data set of `examples` examples; keeps the order of the epoch last asked for.
// Not thread-safe.
class BatchSource {
 public:
  // `examples` >= 1.
  BatchSource(uint64_t seed, int64_t examples);

  // Entries batch_index * batch_size and the following of the epoch's order: `batch_size` of them,
  // or what is left at the epoch's end, which may be none. Valid until the next call.
  // `epoch` and `batch_index` >= 0, `batch_size` >= 1.
  absl::Span<const int64_t> Examples(int64_t epoch, int64_t batch_index, int64_t batch_size);

 private:
  const uint64_t seed_;
  const int64_t examples_;
  int64_t epoch_ = -1;  // whose order `order_` is; -1: none yet
  std::vector<int64_t> order_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_BATCHES_H_

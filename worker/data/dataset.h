// Labelled images in memory, and batches of them.

#ifndef PERCENTDELTA_WORKER_DATA_DATASET_H_
#define PERCENTDELTA_WORKER_DATA_DATASET_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace percentdelta {

// Images as they stand in the file: one byte a pixel, row-major, image after image.
struct Dataset {
  int64_t count = 0;
  int32_t rows = 0;
  int32_t columns = 0;
  std::vector<uint8_t> pixels;  // count * rows * columns
  std::vector<uint8_t> labels;  // count, each below `classes`
  int32_t classes = 10;
};

// Images ready for a model: float pixels 0..1 (byte / 255), row-major, image after image.
struct Batch {
  int64_t count = 0;
  int32_t rows = 0;
  int32_t columns = 0;
  std::vector<float> pixels;    // count * rows * columns
  std::vector<uint8_t> labels;  // count
};

// Copies the named examples, in the order given, into `batch` (reusing its memory). Each index
// must be below dataset.count.
void GatherBatch(const Dataset& dataset, absl::Span<const int64_t> examples, Batch& batch);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATASET_H_

// SPDX-License-Identifier: Apache-2.0

// Labelled images in memory, and batches of them.

#ifndef PERCENTDELTA_WORKER_DATA_DATASET_H_
#define PERCENTDELTA_WORKER_DATA_DATASET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace percentdelta {

// Images as in the file: one byte per pixel, row-major, image after image.
struct Dataset {
  int64_t count = 0;
  int32_t rows = 0;
  int32_t columns = 0;
  std::vector<uint8_t> pixels;  // count * rows * columns
  std::vector<uint8_t> labels;  // count, each below `classes`
  int32_t classes = 10;
};

// The training set and the test set of a job, shared by all workers of a process.
struct DataSets {
  std::shared_ptr<const Dataset> training;  // not null
  std::shared_ptr<const Dataset> test;      // null if the job has no evaluation
  std::string fingerprint;                  // DataFingerprint of the two
};

// Returns the SHA-256, as 64 lower-case hexadecimal digits, of the data that a training uses: equal
// for equal data, whatever files they came from. Hashes, of the training set and then of the test
// set if there is one,
//   count, rows, columns, classes   as 64-bit little-endian numbers
//   pixels, labels                  as in memory
// Calls `cancelled` from time to time; returns "" as soon as that returns true.
std::string DataFingerprint(const Dataset& training, const Dataset* test,
                            const std::function<bool()>& cancelled = nullptr);

// Images as models take them: float pixels 0..1 (byte / 255), row-major, image after image.
struct Batch {
  int64_t count = 0;
  int32_t rows = 0;
  int32_t columns = 0;
  std::vector<float> pixels;    // count * rows * columns
  std::vector<uint8_t> labels;  // count

  // For training: the key of the gradient's random numbers (GradientKey).
  uint64_t random_key = 0;
};

// Copies the examples, in the given order, into `batch`, and reuses its memory. Each index must be
// below dataset.count.
void GatherBatch(const Dataset& dataset, absl::Span<const int64_t> examples, Batch& batch);

// For images whose bytes are codes instead of pixels: returns the 16-bit number, high byte first,
// in the bytes 2 * index and 2 * index + 1 of an example that GatherBatch gathered.
int32_t WordAt(const Batch& batch, int64_t example, int64_t index);

// Returns the same number for an example of the data set.
int32_t WordAt(const Dataset& dataset, int64_t example, int64_t index);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATASET_H_

// SPDX-License-Identifier: Apache-2.0

// Reads data sets in MNIST's file format, IDX, plain or compressed with gzip.
//
// An IDX file is big-endian: two zero bytes, 0x08 for "unsigned bytes", the number of dimensions,
// the dimensions as 32-bit numbers, the bytes. Images have three dimensions (count, rows, columns),
// labels one. MNIST, Fashion-MNIST, KMNIST and others use this format.

#ifndef PERCENTDELTA_WORKER_DATA_IDX_H_
#define PERCENTDELTA_WORKER_DATA_IDX_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/data/dataset.h"

namespace percentdelta {

struct ReadOptions {
  // Number of examples that the set must have, from the job. 0: any number.
  int64_t examples = 0;

  // Called before each piece of a file is read; true ends the reading with kCancelled. May be
  // empty.
  std::function<bool()> cancelled;

  // Called with a line of text for each file that was read, and for each that was skipped in favour
  // of a good one, with the reason. May be empty.
  std::function<void(const std::string& line)> note;

  // What LoadDataSets appends to its errors: how to get the data (DataAdvice, model.h). May be
  // empty.
  std::string advice = {};
};

enum class IdxKind { kImages, kLabels };

struct IdxFile {
  std::vector<uint32_t> dimensions;  // three of images, one of labels
  std::vector<uint8_t> entries;
};

// Reads one file. Its first bytes decide whether it is compressed, not its name.
//   kNotFound, kPermissionDenied, kFailedPrecondition  the system cannot read it; the message is
//                                                      errno's
//   kInvalidArgument   not a regular file, not an IDX file of the kind expected, shorter or longer
//                      than its header says, of another number of examples, damaged compression, a
//                      label that is not in 0..9
//   kResourceExhausted not enough memory
//   kCancelled         `cancelled` returned true
// The message names the file, what was expected and what was found. Compares the size of the file
// with its header before memory is allocated.
absl::StatusOr<IdxFile> ReadIdx(const std::string& path, IdxKind kind, const ReadOptions& options);

// Makes a data set of images and labels. kInvalidArgument, naming the two files, if their numbers
// of examples differ.
absl::StatusOr<Dataset> MakeDataset(IdxFile images, absl::string_view images_path, IdxFile labels,
                                    absl::string_view labels_path);

// Reads both files and makes a data set of them.
absl::StatusOr<Dataset> ReadDataset(const std::string& images_path, const std::string& labels_path,
                                    const ReadOptions& options = {});

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_IDX_H_

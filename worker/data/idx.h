// Reads data sets in MNIST's file format, IDX, plain or compressed with gzip.
//
// An IDX file is big-endian: two zero bytes, 0x08 for "unsigned bytes", the number of dimensions,
// the dimensions as 32-bit numbers, the bytes. Images have three dimensions (count, rows, columns),
// labels one. MNIST, Fashion-MNIST, KMNIST and others come this way.

#ifndef PERCENTDELTA_WORKER_DATA_IDX_H_
#define PERCENTDELTA_WORKER_DATA_IDX_H_

#include <string>

#include "absl/status/statusor.h"
#include "worker/data/dataset.h"

namespace percentdelta {

// The images and their labels, which must be in 0..9. Whether a file is compressed is told by its
// first bytes, not by its name.
//   kNotFound         no such file
//   kInvalidArgument  not an IDX file of the kind expected, shorter or longer than its header says,
//                     damaged compression, or files that do not belong together
//   kUnavailable      the system cannot read it
// The message names the file, what was expected and what it has. A header is not believed: memory
// is taken for what the file really holds.
absl::StatusOr<Dataset> ReadDataset(const std::string& images_path, const std::string& labels_path);

// MNIST's training (or test) set in that directory, under its usual names: those of
// "train-images-idx3-ubyte" and "train-labels-idx1-ubyte" ("t10k-..."), with a dot in place of the
// last "-idx", and with ".gz" behind. kNotFound if there is none, with what to do about it.
absl::StatusOr<Dataset> ReadTrainingSet(const std::string& directory);
absl::StatusOr<Dataset> ReadTestSet(const std::string& directory);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_IDX_H_

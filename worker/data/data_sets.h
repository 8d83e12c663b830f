// SPDX-License-Identifier: Apache-2.0

// Finds the files of a data set in a folder, as its publisher, Kaggle, torchvision or
// deploy/fetch-data provide them, and loads what a job needs.

#ifndef PERCENTDELTA_WORKER_DATA_DATA_SETS_H_
#define PERCENTDELTA_WORKER_DATA_DATA_SETS_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/data/idx.h"

namespace percentdelta {

// Read MNIST's training or test set from the folder. Its files are "train-images-idx3-ubyte" and
// "train-labels-idx1-ubyte" ("t10k-..." or "test-..."), in any case, with dots or underscores in
// place of the dashes, with or without ".gz"; or folders of such a name that hold only the file.
// Both files must be in the folder itself, or both in one of raw, MNIST/raw, FashionMNIST/raw and
// KMNIST/raw below it (torchvision's layout).
//
// Of several candidates, the first that can be read is used, in the order plain name, plain name
// with .gz, with a dot in place of the last dash, others by name. If none can be read, the message
// has the reason of each. Errors: as ReadIdx; kNotFound if there is no candidate.
absl::StatusOr<Dataset> ReadTrainingSet(const std::string& folder, const ReadOptions& options = {});
absl::StatusOr<Dataset> ReadTestSet(const std::string& folder, const ReadOptions& options = {});

// Loads the training set, and the test set if the job has an evaluation, with the job's numbers of
// examples. Errors: as above, with options.advice after the message. Ignores options.examples.
absl::StatusOr<DataSets> LoadDataSets(const std::string& folder, const Job& job,
                                      const ReadOptions& options);

// Makes DataSets of sets in memory; drops `test` if the job has no evaluation.
//   kInvalidArgument  the numbers of examples are not the job's
//   kCancelled        `cancelled` returned true
absl::StatusOr<DataSets> MakeDataSets(const Job& job, std::shared_ptr<const Dataset> training,
                                      std::shared_ptr<const Dataset> test,
                                      const std::function<bool()>& cancelled = nullptr);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATA_SETS_H_

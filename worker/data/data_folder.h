// SPDX-License-Identifier: Apache-2.0

// Finds the files of a data set in a folder.

#ifndef PERCENTDELTA_WORKER_DATA_DATA_FOLDER_H_
#define PERCENTDELTA_WORKER_DATA_DATA_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "worker/data/idx.h"

namespace percentdelta {

enum class DataSplit { kTraining, kTest };

// Returns the usual names of a file, its publisher's first: "train-images-idx3-ubyte", the same
// with
// ".gz", "train-images.idx3-ubyte", the same with ".gz".
std::vector<std::string> UsualNames(DataSplit split, IdxKind kind);

// Whether `name` is that of such a file, in any case, with '-', '.', '_' or ' ' between its parts,
// and with or without the ending of a compressed file.
bool IsDataFileName(absl::string_view name, DataSplit split, IdxKind kind);

struct Candidates {
  std::vector<std::string> paths;      // in the order in which to try them
  std::vector<absl::Status> unusable;  // the errors of others that exist

  bool empty() const { return paths.empty() && unusable.empty(); }
};

// Returns what exists in the folder under the name of such a file: first the usual names, then
// others in ascending order. A folder of such a name stands for the file in it: the only one that
// is not hidden, or else the first with such a name.
Candidates FindCandidates(const std::string& folder, DataSplit split, IdxKind kind);

// Returns the system error of a folder that cannot hold data because it does not exist, cannot be
// entered or is not a folder.
absl::Status CheckDataFolder(const std::string& folder);

// Returns the folder, and those below it where torchvision puts data sets, if they exist: raw,
// MNIST/raw, and FashionMNIST/raw or KMNIST/raw unless both exist.
std::vector<std::string> FoldersOfData(const std::string& folder);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATA_FOLDER_H_

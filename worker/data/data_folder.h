// Where in a folder the files of a data set are.

#ifndef PERCENTDELTA_WORKER_DATA_DATA_FOLDER_H_
#define PERCENTDELTA_WORKER_DATA_DATA_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "worker/data/idx.h"

namespace percentdelta {

enum class DataSplit { kTraining, kTest };

// The usual names of a file, those of its publisher first: "train-images-idx3-ubyte", the same with
// ".gz", "train-images.idx3-ubyte", the same with ".gz".
std::vector<std::string> UsualNames(DataSplit split, IdxKind kind);

// Whether the name is one of a file of that kind, in capitals or not, with '-', '.', '_' or ' '
// between its parts, and the ending of a compressed file behind it or none.
bool IsDataFileName(absl::string_view name, DataSplit split, IdxKind kind);

struct Candidates {
  std::vector<std::string> paths;      // in the order in which they are to be tried
  std::vector<absl::Status> unusable;  // why others that exist cannot be tried

  bool empty() const { return paths.empty() && unusable.empty(); }
};

// What exists in the folder under a name of such a file: first the usual names, then others in
// ascending order. A folder of that name stands for the file in it: the only one that is not
// hidden, or the first with such a name.
Candidates FindCandidates(const std::string& folder, DataSplit split, IdxKind kind);

// What errno says of a folder that cannot be one of data: absent, not to be entered, not a folder.
absl::Status CheckDataFolder(const std::string& folder);

// The folder, and those below it where torchvision puts data sets: raw, MNIST/raw, and
// FashionMNIST/raw or KMNIST/raw unless both are there. Those that do not exist are left out.
std::vector<std::string> FoldersOfData(const std::string& folder);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATA_FOLDER_H_

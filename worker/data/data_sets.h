// Finds the files of a data set in a folder, as they come from its publisher, Kaggle, torchvision
// or deploy/fetch-data, and loads what a job needs of them.

#ifndef PERCENTDELTA_WORKER_DATA_DATA_SETS_H_
#define PERCENTDELTA_WORKER_DATA_DATA_SETS_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/data/idx.h"

namespace percentdelta {

// MNIST's training (or test) set in that folder. Its files are "train-images-idx3-ubyte" and
// "train-labels-idx1-ubyte" ("t10k-..." or "test-..."), in capitals or not, with dots or
// underscores in place of the dashes, and with ".gz" or not; or folders of such a name that hold
// just the file. They are looked for in the folder, then in raw, MNIST/raw, FashionMNIST/raw and
// KMNIST/raw below it (torchvision's layout); both files must be in the same one.
//
// Of several candidates the first that can be read is taken, in the order plain name, plain name
// with .gz, with a dot in place of the last dash, others by name. If none can, the message has
// every candidate's reason. Errors: as ReadIdx; kNotFound if there is no candidate.
absl::StatusOr<Dataset> ReadTrainingSet(const std::string& folder, const ReadOptions& options = {});
absl::StatusOr<Dataset> ReadTestSet(const std::string& folder, const ReadOptions& options = {});

// How to get the data set of jobs with this architecture, as in "deploy/make-data ratings makes
// this job's data set in data/ratings: give its folder with --data". Of an architecture that is not
// known here, or "": of all of them.
std::string DataAdvice(absl::string_view architecture);

// Loads what the job needs: the training set, and the test set if the job has an evaluation; with
// as many examples as the job says. Errors: as above, with DataAdvice behind the message. Of
// `options` `examples` is ignored.
absl::StatusOr<DataSets> LoadDataSets(const std::string& folder, const Job& job,
                                      const ReadOptions& options);

// Of data sets that are in memory; `test` is dropped if the job has no evaluation. kInvalidArgument
// unless they have as many examples as the job says. kCancelled: `cancelled` returned true.
absl::StatusOr<DataSets> MakeDataSets(const Job& job, std::shared_ptr<const Dataset> training,
                                      std::shared_ptr<const Dataset> test,
                                      const std::function<bool()>& cancelled = nullptr);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_DATA_DATA_SETS_H_

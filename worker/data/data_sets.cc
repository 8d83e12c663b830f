// SPDX-License-Identifier: Apache-2.0

#include "worker/data/data_sets.h"

#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/data/data_file.h"
#include "worker/data/data_folder.h"

namespace percentdelta {
namespace {

// Whether another candidate is worth a try.
bool ShouldTryNext(const absl::Status& status) {
  return !absl::IsCancelled(status) && !absl::IsResourceExhausted(status);
}

absl::Status Annotate(const absl::Status& status, absl::string_view what) {
  return absl::Status(status.code(), absl::StrCat(status.message(), what));
}

// Joins the messages of several errors; the code is the first one's.
absl::Status Join(const std::vector<absl::Status>& reasons) {
  std::vector<std::string> messages;
  messages.reserve(reasons.size());
  for (const absl::Status& reason : reasons) messages.emplace_back(reason.message());
  return absl::Status(reasons.front().code(), absl::StrJoin(messages, "; "));
}

struct FoundFile {
  IdxFile file;
  std::string path;
};

// Reads the first candidate that can be read. kNotFound, worded as ENOENT, if there is none.
absl::StatusOr<FoundFile> ReadFirst(const std::string& folder, DataSplit split, IdxKind kind,
                                    const ReadOptions& options) {
  const Candidates candidates = FindCandidates(folder, split, kind);
  std::vector<absl::Status> reasons = candidates.unusable;
  for (const std::string& path : candidates.paths) {
    absl::StatusOr<IdxFile> file = ReadIdx(path, kind, options);
    if (!file.ok()) {
      if (!ShouldTryNext(file.status())) return file.status();
      reasons.push_back(file.status());
      continue;
    }
    if (options.note) {
      for (const absl::Status& reason : reasons) {
        options.note(absl::StrCat("skipped ", reason.message()));
      }
    }
    return FoundFile{*std::move(file), path};
  }
  if (!reasons.empty()) return Join(reasons);
  std::vector<std::string> names = UsualNames(split, kind);
  const absl::Status absent = ErrnoStatus(absl::StrCat(folder, "/", names.front()), ENOENT);
  names.erase(names.begin());
  return Annotate(absent, absl::StrCat(" (nor ", absl::StrJoin(names, ", "), ")"));
}

absl::StatusOr<Dataset> ReadFrom(const std::string& folder, DataSplit split,
                                 const ReadOptions& options) {
  if (FindCandidates(folder, split, IdxKind::kImages).empty()) {
    return ReadFirst(folder, split, IdxKind::kImages, options).status();
  }
  // The small file before the large one.
  ASSIGN_OR_RETURN(FoundFile labels, ReadFirst(folder, split, IdxKind::kLabels, options));
  ASSIGN_OR_RETURN(FoundFile images, ReadFirst(folder, split, IdxKind::kImages, options));
  return MakeDataset(std::move(images.file), images.path, std::move(labels.file), labels.path);
}

absl::StatusOr<Dataset> ReadSplit(const std::string& folder, DataSplit split,
                                  const ReadOptions& options) {
  RETURN_IF_ERROR(CheckDataFolder(folder));
  std::vector<absl::Status> reasons;
  const std::vector<std::string> folders = FoldersOfData(folder);
  for (const std::string& candidate : folders) {
    // If the files here are bad, a folder below may have good ones.
    const bool any = !FindCandidates(candidate, split, IdxKind::kImages).empty() ||
                     !FindCandidates(candidate, split, IdxKind::kLabels).empty();
    if (!any && (candidate != folder || folders.size() > 1)) continue;
    absl::StatusOr<Dataset> dataset = ReadFrom(candidate, split, options);
    if (dataset.ok()) {
      if (options.note) {
        for (const absl::Status& reason : reasons) {
          options.note(absl::StrCat("skipped ", reason.message()));
        }
      }
      return dataset;
    }
    if (!ShouldTryNext(dataset.status())) return dataset.status();
    reasons.push_back(dataset.status());
  }
  if (!reasons.empty()) return Join(reasons);
  return Annotate(
      ReadFrom(folder, split, options).status(),
      absl::StrCat(", nor in ", absl::StrJoin(folders.begin() + 1, folders.end(), ", ")));
}

absl::Status CheckCount(absl::string_view what, int64_t expected, const Dataset* dataset) {
  const int64_t got = dataset == nullptr ? 0 : dataset->count;
  if (expected == got) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("data: expected ", expected, " ", what, " examples as the job says, got ", got));
}

}  // namespace

absl::StatusOr<Dataset> ReadTrainingSet(const std::string& folder, const ReadOptions& options) {
  return ReadSplit(folder, DataSplit::kTraining, options);
}

absl::StatusOr<Dataset> ReadTestSet(const std::string& folder, const ReadOptions& options) {
  return ReadSplit(folder, DataSplit::kTest, options);
}

absl::StatusOr<DataSets> LoadDataSets(const std::string& folder, const Job& job,
                                      const ReadOptions& options) {
  const auto load = [&]() -> absl::StatusOr<DataSets> {
    ReadOptions set_options = options;
    set_options.examples = job.data.training_examples;
    ASSIGN_OR_RETURN(Dataset training, ReadTrainingSet(folder, set_options));
    std::shared_ptr<const Dataset> test;
    if (job.evaluation) {
      set_options.examples = job.data.test_examples;
      ASSIGN_OR_RETURN(Dataset read, ReadTestSet(folder, set_options));
      test = std::make_shared<const Dataset>(std::move(read));
    }
    return MakeDataSets(job, std::make_shared<const Dataset>(std::move(training)), std::move(test),
                        options.cancelled);
  };
  absl::StatusOr<DataSets> sets = load();
  if (sets.ok() || absl::IsCancelled(sets.status()) || options.advice.empty()) return sets;
  return Annotate(sets.status(), absl::StrCat(": ", options.advice));
}

absl::StatusOr<DataSets> MakeDataSets(const Job& job, std::shared_ptr<const Dataset> training,
                                      std::shared_ptr<const Dataset> test,
                                      const std::function<bool()>& cancelled) {
  if (!job.evaluation) test = nullptr;
  RETURN_IF_ERROR(CheckCount("training", job.data.training_examples, training.get()));
  if (job.evaluation) RETURN_IF_ERROR(CheckCount("test", job.data.test_examples, test.get()));
  DataSets sets = {std::move(training), std::move(test), ""};
  sets.fingerprint = DataFingerprint(*sets.training, sets.test.get(), cancelled);
  if (sets.fingerprint.empty()) return absl::CancelledError("loading the data was cancelled");
  return sets;
}

}  // namespace percentdelta

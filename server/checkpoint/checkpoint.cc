// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint.h"

#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/durable_file.h"
#include "common/base/status_macros.h"
#include "common/job/job_codec.h"
#include "common/job/partition.h"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxManifestBytes = int64_t{16} << 20;
constexpr int kMaxShards = 1 << 16;

// Checks that a file is the one that the manifest lists.
absl::Status CheckFile(const std::string& directory, const FileEntry& file) {
  const std::string path = absl::StrCat(directory, "/", file.name);
  std::error_code error;
  const auto bytes = static_cast<int64_t>(fs::file_size(path, error));
  if (error) {
    return absl::DataLossError(
        absl::ErrnoToStatus(error.value(), absl::StrCat("cannot read ", path)).message());
  }
  if (bytes != file.bytes) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected ", file.bytes, " bytes, got ", bytes));
  }
  ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
  if (sha256 != file.sha256) {
    return absl::DataLossError(absl::StrCat(path, ": expected the SHA-256 ", file.sha256, ", got ",
                                            sha256, ": its contents are damaged"));
  }
  return absl::OkStatus();
}

// Checks that the manifest lists exactly the files that a checkpoint has.
absl::Status CheckFileNames(const std::string& directory, const Manifest& manifest,
                            const ModelSpec& model) {
  std::vector<std::string> expected;
  if (manifest.shards >= 1 && manifest.shards <= kMaxShards) {
    const Partition partition(model, manifest.shards);
    for (int shard = 0; shard < manifest.shards; ++shard) {
      if (partition.ranges_of_shard(shard).empty()) continue;
      expected.push_back(SliceFileName(shard, manifest.shards));
    }
  }
  expected.emplace_back(kHistoryName);
  std::vector<std::string> names;
  for (const FileEntry& file : manifest.files) names.push_back(file.name);
  if (names == expected && manifest.shards >= 1) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(directory, "/", kManifestName, ": expected the files of ",
                                          manifest.shards, " shards and the history, got others"));
}

absl::Status CheckJob(const std::string& directory, const Manifest& manifest, const Job& job) {
  const absl::StatusOr<Job> written = ParseJob(manifest.job, directory + "/" + kManifestName);
  if (!written.ok()) return absl::DataLossError(written.status().message());
  RETURN_IF_ERROR(CheckSameJob("the checkpoint " + directory, job, *written));
  if (manifest.step > job.max_steps) {
    return absl::FailedPreconditionError(
        absl::StrCat("the checkpoint ", directory, " is of step ", manifest.step,
                     ": expected at most the job's max_steps ", job.max_steps));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSameJob(absl::string_view what, const Job& job, const Job& written) {
  const std::string differences = DecisiveDifferences(job, written);
  if (differences.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      what, " belongs to another job (ours and its): ", differences,
      "; give this job a checkpoint.directory of its own, or start at step 0 with --no_restore"));
}

absl::StatusOr<Manifest> ReadManifest(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kManifestName);
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMaxManifestBytes));
  absl::StatusOr<Manifest> manifest = ParseManifest(text);
  if (!manifest.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": ", manifest.status().message()));
  }
  return manifest;
}

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& directory, const Job& job) {
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  ASSIGN_OR_RETURN(checkpoint.manifest, ReadManifest(directory));
  RETURN_IF_ERROR(CheckJob(directory, checkpoint.manifest, job));
  RETURN_IF_ERROR(CheckFileNames(directory, checkpoint.manifest, job.model));
  for (const FileEntry& file : checkpoint.manifest.files) {
    RETURN_IF_ERROR(CheckFile(directory, file));
  }
  ASSIGN_OR_RETURN(checkpoint.history, ReadHistory(directory));
  return checkpoint;
}

}  // namespace percentdelta

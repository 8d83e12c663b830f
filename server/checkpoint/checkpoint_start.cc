// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_start.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

absl::Status Named(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("--restore: ", status.message()));
}

// The checkpoint that --restore names: the path itself, or the newest in it.
absl::StatusOr<Checkpoint> FindRestore(const std::string& path, const Job& job,
                                       const FaultPoints& faults, const Logger& log) {
  std::error_code error;
  const bool is_directory = fs::is_directory(path, error);
  if (error) {
    return Named(absl::ErrnoToStatus(error.value(), absl::StrCat("cannot open ", path)));
  }
  if (!is_directory) {
    return Named(absl::NotFoundError(absl::StrCat(
        "expected the directory of a checkpoint, or of several, got the file ", path)));
  }
  absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(path, job);
  if (checkpoint.ok()) return checkpoint;
  if (!absl::IsNotFound(checkpoint.status())) return Named(checkpoint.status());
  const CheckpointStore store(path, 1, faults, log);
  absl::StatusOr<std::optional<Checkpoint>> newest = store.FindNewest(job);
  if (!newest.ok()) return Named(newest.status());
  if (*newest) return **std::move(newest);
  return Named(absl::NotFoundError(absl::StrCat("expected a checkpoint at ", path,
                                                ", got a directory without ", kManifestName,
                                                " and without a complete checkpoint in it")));
}

// Whether the checkpoint is one of the store's own, which FindNewest() can find.
bool IsIn(const CheckpointStore& store, const Checkpoint& checkpoint) {
  const std::string own = StepDirectory(store.directory(), checkpoint.manifest.step);
  std::error_code error;
  return fs::is_directory(fs::symlink_status(own, error)) &&
         fs::equivalent(own, checkpoint.directory, error);
}

// Checks that the training can start with the newest of the store's checkpoints, or has none.
absl::Status CheckOwnCheckpoints(const CheckpointStore& store, const Job& job) {
  RETURN_IF_ERROR(store.CheckOwner(job));
  ASSIGN_OR_RETURN(const std::optional<Checkpoint> newest, store.FindNewest(job));
  return newest ? absl::OkStatus() : store.CheckLinks();
}

absl::StatusOr<std::string> Prepare(const Job& job, const CheckpointStart& start,
                                    const FaultPoints& faults, const Logger& log) {
  const std::shared_ptr<const CheckpointStore> store = MakeStore(job, faults, log);
  if (store != nullptr) RETURN_IF_ERROR(store->Prepare());
  if (start.no_restore) {
    if (store != nullptr) RETURN_IF_ERROR(store->SetAside(-1));
    return std::string();
  }
  if (start.restore.empty()) {
    if (store != nullptr) RETURN_IF_ERROR(CheckOwnCheckpoints(*store, job));
    return std::string();
  }
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, FindRestore(start.restore, job, faults, log));
  std::error_code error;
  const fs::path restore = fs::absolute(checkpoint.directory, error);
  if (error) {
    return Named(absl::ErrnoToStatus(error.value(), absl::StrCat("cannot open ", start.restore)));
  }
  if (store != nullptr) {
    RETURN_IF_ERROR(store->SetAside(IsIn(*store, checkpoint) ? checkpoint.manifest.step : -1));
  }
  return restore.string();
}

}  // namespace

bool ExpectsCheckpoint(const Job& job, const CheckpointStart& start) {
  if (!start.restore.empty()) return true;
  if (start.no_restore || !job.checkpoint) return false;
  const auto steps = FindStepDirectories(job.checkpoint->directory);
  return steps.ok() && std::any_of(steps->begin(), steps->end(),
                                   [](const auto& step) { return ReadManifest(step.second).ok(); });
}

std::shared_ptr<const CheckpointStore> MakeStore(const Job& job, const FaultPoints& faults,
                                                 const Logger& log) {
  if (!job.checkpoint) return nullptr;
  return std::make_shared<const CheckpointStore>(job.checkpoint->directory,
                                                 job.checkpoint->max_kept, faults, log);
}

absl::StatusOr<std::string> PrepareCheckpoints(const Job& job, const CheckpointStart& start,
                                               const FaultPoints& faults, const Logger& log) {
  if (!start.restore.empty() && start.no_restore) {
    return absl::InvalidArgumentError("expected --restore or --no_restore, got both");
  }
  absl::StatusOr<std::string> restore = Prepare(job, start, faults, log);
  // EINVAL, ENOTDIR or ENAMETOOLONG of the system: a problem on disk, not of the command line.
  if (absl::IsInvalidArgument(restore.status())) {
    return absl::FailedPreconditionError(restore.status().message());
  }
  return restore;
}

}  // namespace percentdelta

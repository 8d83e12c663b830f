// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_store.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/durable_file.h"
#include "common/base/status_macros.h"
#include "common/job/job_codec.h"
#include "server/checkpoint/cluster_file.h"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNamed = 5;  // files or checkpoints that one message names

absl::Status Failed(absl::string_view what, const std::string& path, const std::error_code& error) {
  return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot ", what, " ", path));
}

// Also true if that cannot be determined.
bool HasManifest(const std::string& directory) {
  std::error_code error;
  return fs::exists(absl::StrCat(directory, "/", kManifestName), error) || error;
}

// Whether a step's directory holds a checkpoint that counts towards max_kept
// (CheckpointStore::Complete).
bool IsRetained(int64_t step, const std::string& directory, const Manifest& newest,
                int64_t initial_step) {
  if (step == newest.step) return true;
  if (step <= initial_step) return HasManifest(directory);
  const absl::StatusOr<Manifest> manifest = ReadManifest(directory);
  if (manifest.ok()) return manifest->generation == newest.generation;
  return !absl::IsNotFound(manifest.status()) && !absl::IsDataLoss(manifest.status());
}

// The first few, and how many more there are.
std::string JoinFirst(const std::vector<std::string>& all, absl::string_view separator) {
  const size_t named = std::min(all.size(), kMaxNamed);
  std::string text = absl::StrJoin(all.begin(), all.begin() + named, separator);
  if (named < all.size()) absl::StrAppend(&text, separator, "and ", all.size() - named, " more");
  return text;
}

}  // namespace

CheckpointStore::CheckpointStore(std::string directory, int max_kept, FaultPoints faults,
                                 Logger log)
    : directory_(std::move(directory)),
      max_kept_(max_kept),
      faults_(std::move(faults)),
      log_(std::move(log)) {}

absl::Status CheckpointStore::Prepare() const {
  std::error_code error;
  fs::create_directories(directory_, error);
  if (!error && !fs::is_directory(directory_, error) && !error) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  if (error) return Failed("make the checkpoint directory", directory_, error);
  RETURN_IF_ERROR(CheckClusterFile(directory_));
  RETURN_IF_ERROR(RemoveTemporaries());
  absl::Status status;
  ASSIGN_OR_RETURN(const auto steps, FindStepDirectories(directory_));
  for (const auto& [step, path] : steps) status.Update(RemoveTemporaries(path));
  RETURN_IF_ERROR(status);
  bool syncs = true;
  status = SyncDirectory(directory_, &syncs);
  if (!syncs) {
    log_->warn(
        "the file system cannot sync directories directory=\"{}\" effect=\"a checkpoint may be "
        "lost if"
        " the machine loses power soon after it was written\"",
        directory_);
  }
  LogForeign();
  return status;
}

void CheckpointStore::LogForeign() const {
  const absl::StatusOr<std::vector<std::string>> foreign = FindForeign(directory_);
  if (!foreign.ok() || foreign->empty()) return;
  log_->warn(
      "the checkpoint directory holds other files, which are left alone directory={} names=\"{}\"",
      directory_, absl::CEscape(JoinFirst(*foreign, ", ")));
}

absl::Status CheckpointStore::RemoveTemporaries() const {
  ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, ListDirectory(directory_));
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != DirectoryEntry::Kind::kFile || !IsTemporaryName(entry.name, kClusterName)) {
      continue;
    }
    const std::string path = absl::StrCat(directory_, "/", entry.name);
    std::error_code error;
    if (fs::remove(path, error)) log_->info("removed leftover file={}", path);
  }
  return absl::OkStatus();
}

absl::Status CheckpointStore::RemoveTemporaries(const std::string& step_directory) const {
  const absl::StatusOr<std::vector<std::string>> removed =
      RemoveFiles(step_directory, IsStepTemporaryName);
  if (absl::IsNotFound(removed.status())) return absl::OkStatus();
  RETURN_IF_ERROR(removed.status());
  for (const std::string& name : *removed) {
    log_->info("removed leftover file={}/{}", step_directory, name);
  }
  return absl::OkStatus();
}

uint64_t CheckpointStore::ReadGeneration() const {
  const absl::StatusOr<ClusterRecord> record = ReadClusterFile(directory_);
  if (record.ok()) return record->generation;
  if (!absl::IsNotFound(record.status())) {
    log_->warn("the last generation is not known error=\"{}\"", record.status().message());
  }
  return 0;
}

absl::Status CheckpointStore::WriteGeneration(uint64_t generation, const Job& job,
                                              bool paused) const {
  return WriteClusterFile(directory_, generation, paused, job, faults_);
}

bool CheckpointStore::ReadPaused() const {
  const absl::StatusOr<ClusterRecord> record = ReadClusterFile(directory_);
  return record.ok() && record->paused;
}

absl::Status CheckpointStore::CheckOwner(const Job& job) const {
  const absl::StatusOr<ClusterRecord> record = ReadClusterFile(directory_);
  if (!record.ok() || record->job.empty()) return absl::OkStatus();
  const absl::StatusOr<Job> written =
      ParseJob(record->job, absl::StrCat(directory_, "/", kClusterName));
  if (!written.ok()) return absl::OkStatus();
  return CheckSameJob(absl::StrCat("the training in ", directory_), job, *written);
}

absl::StatusOr<std::optional<Checkpoint>> CheckpointStore::FindNewest(const Job& job) const {
  ASSIGN_OR_RETURN(const auto steps, FindStepDirectories(directory_));
  std::optional<Checkpoint> newest;
  std::vector<std::string> unfinished;
  std::vector<std::string> damaged;  // what is wrong, with the path
  for (auto step = steps.rbegin(); step != steps.rend() && !newest; ++step) {
    absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(step->second, job);
    absl::Status status = checkpoint.status();
    if (status.ok() && checkpoint->manifest.step != step->first) {
      status =
          absl::DataLossError(absl::StrCat(step->second, "/", kManifestName, ": expected step ",
                                           step->first, ", got ", checkpoint->manifest.step));
    }
    if (absl::IsFailedPrecondition(status)) return status;
    if (status.ok()) {
      newest = *std::move(checkpoint);
    } else if (absl::IsNotFound(status)) {
      unfinished.push_back(step->second);
    } else {
      damaged.emplace_back(status.message());
    }
  }
  if (!newest && !damaged.empty()) {
    return absl::DataLossError(
        absl::StrCat("every checkpoint in ", directory_, " is damaged: ", JoinFirst(damaged, "; "),
                     ". Repair one, give another with --restore=DIR, or start at step 0 with"
                     " --no_restore, which sets these aside"));
  }
  for (const std::string& path : unfinished) {
    log_->info("checkpoint was not completed, passed over path={}", path);
  }
  for (const std::string& error : damaged) {
    log_->error("checkpoint is damaged, passed over error=\"{}\"", error);
  }
  return newest;
}

absl::Status CheckpointStore::CheckLinks() const {
  ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, ListDirectory(directory_));
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != DirectoryEntry::Kind::kLink || !StepOfName(entry.name)) continue;
    const std::string path = absl::StrCat(directory_, "/", entry.name);
    if (!ReadManifest(path).ok()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(path,
                     " is a symbolic link to a checkpoint, which is not followed. Start with that"
                     " checkpoint with --restore=",
                     path, ", or at step 0 with --no_restore"));
  }
  return absl::OkStatus();
}

absl::Status CheckpointStore::Complete(Manifest manifest, const std::vector<FileEntry>& slice_files,
                                       const History& history, int64_t initial_step) const {
  const std::string directory = StepDirectory(directory_, manifest.step);
  for (const FileEntry& file : slice_files) {
    RETURN_IF_ERROR(
        CheckSliceFile(directory, file, manifest.shards, manifest.step, manifest.generation));
  }
  // All parts are there: temporary files in the step's directory are obsolete. A disk that vanished
  // for a moment may have left a part of a cluster.json as well.
  RETURN_IF_ERROR(MakeStepDirectory(directory_, manifest.step));
  RETURN_IF_ERROR(RemoveTemporaries(directory));
  RETURN_IF_ERROR(RemoveTemporaries());
  ASSIGN_OR_RETURN(FileEntry history_file, WriteHistory(directory, history, faults_));
  manifest.files = slice_files;
  manifest.files.push_back(std::move(history_file));
  faults_.Pass("manifest");
  RETURN_IF_ERROR(WriteDurably(absl::StrCat(directory, "/", kManifestName), ToJson(manifest),
                               {faults_, nullptr, /*follow_links=*/false}));
  RETURN_IF_ERROR(SyncDirectory(directory_));  // the name of the step's directory
  faults_.Pass("complete");
  // The checkpoint is complete even if others cannot be removed.
  if (absl::Status pruned = Prune(manifest, initial_step); !pruned.ok()) {
    log_->warn("old checkpoints cannot be removed yet error=\"{}\"", pruned.message());
  }
  return absl::OkStatus();
}

absl::Status CheckpointStore::Prune(const Manifest& manifest, int64_t initial_step) const {
  ASSIGN_OR_RETURN(const auto steps, FindStepDirectories(directory_));
  // Each shard writes one step after the other: an older step is no longer being written, and
  // without a manifest it is what a failure left.
  int retained = 0;
  absl::Status status;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (step->first > manifest.step) continue;  // damaged, or being written
    const bool counts = IsRetained(step->first, step->second, manifest, initial_step);
    if (counts && retained < max_kept_) {
      ++retained;
      continue;
    }
    const absl::StatusOr<StepRemoval> removal = RemoveStep(step->second, IsStepFileName);
    status.Update(removal.status());
    if (removal.ok() && !removal->gone && removal->files > 0) {
      log_->warn("old checkpoint removed; its directory stays because it holds other files path={}",
                 step->second);
    }
  }
  return status;
}

absl::Status CheckpointStore::SetAside(int64_t step) const {
  ASSIGN_OR_RETURN(const auto steps, FindStepDirectories(directory_));
  std::string target;
  for (const auto& [each, path] : steps) {
    if (each <= step) continue;
    std::error_code error;
    for (int number = 1; target.empty() && !error; ++number) {
      const std::string name = absl::StrCat(directory_, "/", kAsidePrefix, number);
      if (fs::create_directory(name, error)) target = name;
      if (error == std::errc::file_exists || error == std::errc::not_a_directory) error.clear();
    }
    if (!error) fs::rename(path, StepDirectory(target, each), error);
    if (error) return Failed("set aside the checkpoint", path, error);
    log_->warn("checkpoint set aside from={} to={}", path, target);
  }
  return target.empty() ? absl::OkStatus() : SyncDirectory(directory_);
}

}  // namespace percentdelta

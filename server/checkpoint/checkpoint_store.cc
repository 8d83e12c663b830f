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
#include "common/base/durable_file.h"
#include "common/base/sha256.h"
#include "common/job/job_codec.h"
#include "common/job/partition.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostManifestBytes = int64_t{16} << 20;
constexpr int kMostShards = 1 << 16;
constexpr size_t kMostNamed = 5;  // files or checkpoints that one message names

absl::Status Failed(absl::string_view what, const std::string& path, const std::error_code& error) {
  return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot ", what, " ", path));
}

// If that cannot be found out, it may be so.
bool HasManifest(const std::string& directory) {
  std::error_code error;
  return fs::exists(absl::StrCat(directory, "/", kManifestName), error) || error;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kManifestName);
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMostManifestBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<Manifest> manifest = ParseManifest(*text);
  if (!manifest.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": ", manifest.status().message()));
  }
  return manifest;
}

// That a file is the one that the manifest lists.
absl::Status CheckFile(const std::string& directory, const FileEntry& file) {
  const std::string path = absl::StrCat(directory, "/", file.name);
  std::error_code error;
  const auto bytes = static_cast<int64_t>(fs::file_size(path, error));
  if (error) return absl::DataLossError(Failed("read", path, error).message());
  if (bytes != file.bytes) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected ", file.bytes, " bytes, got ", bytes));
  }
  const absl::StatusOr<std::string> sha256 = Sha256OfFile(path);
  if (!sha256.ok()) return sha256.status();
  if (*sha256 != file.sha256) {
    return absl::DataLossError(absl::StrCat(path, ": expected the SHA-256 ", file.sha256, ", got ",
                                            *sha256, ": its contents are damaged"));
  }
  return absl::OkStatus();
}

// That the manifest lists just the files that a checkpoint has.
absl::Status CheckFileNames(const std::string& directory, const Manifest& manifest,
                            const ModelSpec& model) {
  std::vector<std::string> expected;
  if (manifest.shards >= 1 && manifest.shards <= kMostShards) {
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

// `what` was written for `written`, which has to be our job or differ in nothing that counts.
absl::Status CheckSame(absl::string_view what, const Job& job, const Job& written) {
  const std::string differences = DecisiveDifferences(job, written);
  if (differences.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      what, " is of another job (ours and its): ", differences,
      "; give this job a checkpoint.directory of its own, or begin anew with --no_restore"));
}

absl::Status CheckJob(const std::string& directory, const Manifest& manifest, const Job& job) {
  const absl::StatusOr<Job> written = ParseJob(manifest.job, directory + "/" + kManifestName);
  if (!written.ok()) return absl::DataLossError(written.status().message());
  absl::Status status = CheckSame("the checkpoint " + directory, job, *written);
  if (!status.ok()) return status;
  if (manifest.step > job.max_steps) {
    return absl::FailedPreconditionError(
        absl::StrCat("the checkpoint ", directory, " is of step ", manifest.step,
                     ": expected at most the job's max_steps ", job.max_steps));
  }
  return absl::OkStatus();
}

// Whether a step's directory holds a checkpoint that counts as kept (CheckpointStore::Complete).
bool IsKept(int64_t step, const std::string& directory, const Manifest& newest, int64_t begun_at) {
  if (step == newest.step) return true;
  if (step <= begun_at) return HasManifest(directory);
  const absl::StatusOr<Manifest> manifest = ReadManifest(directory);
  if (manifest.ok()) return manifest->generation == newest.generation;
  return !absl::IsNotFound(manifest.status()) && !absl::IsDataLoss(manifest.status());
}

// The first of them, and how many more there are.
std::string JoinFirst(const std::vector<std::string>& all, absl::string_view separator) {
  const size_t named = std::min(all.size(), kMostNamed);
  std::string text = absl::StrJoin(all.begin(), all.begin() + named, separator);
  if (named < all.size()) absl::StrAppend(&text, separator, "and ", all.size() - named, " more");
  return text;
}

// The object in cluster.json, or what is wrong with it.
absl::StatusOr<nlohmann::json> ReadCluster(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kClusterName);
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMostManifestBytes);
  if (!text.ok()) return text.status();
  nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("generation") && json["generation"].is_number_unsigned()) {
    return json;
  }
  return absl::DataLossError(
      absl::StrCat(path, ": expected a JSON object with a generation, as servers write it"));
}

}  // namespace

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& directory, const Job& job) {
  absl::StatusOr<Manifest> manifest = ReadManifest(directory);
  if (!manifest.ok()) return manifest.status();
  absl::Status status = CheckJob(directory, *manifest, job);
  if (status.ok()) status = CheckFileNames(directory, *manifest, job.model);
  for (const FileEntry& file : manifest->files) {
    if (status.ok()) status = CheckFile(directory, file);
  }
  if (!status.ok()) return status;
  absl::StatusOr<History> history = ReadHistory(directory);
  if (!history.ok()) return history.status();
  return Checkpoint{directory, *std::move(manifest), *std::move(history)};
}

CheckpointStore::CheckpointStore(std::string directory, int keep, FaultPoints faults, Logger log)
    : directory_(std::move(directory)),
      keep_(keep),
      faults_(std::move(faults)),
      log_(std::move(log)) {}

absl::Status CheckpointStore::Prepare() const {
  std::error_code error;
  fs::create_directories(directory_, error);
  if (!error && !fs::is_directory(directory_, error) && !error) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  if (error) return Failed("make the checkpoint directory", directory_, error);
  absl::Status status = CheckWritable();
  if (status.ok()) status = RemoveTemporaries();
  const absl::StatusOr<std::map<int64_t, std::string>> steps = FindStepDirectories(directory_);
  status.Update(steps.status());
  if (!status.ok()) return status;
  for (const auto& [step, path] : *steps) status.Update(RemoveTemporaries(path));
  if (!status.ok()) return status;
  bool syncs = true;
  status = SyncDirectory(directory_, &syncs);
  if (!syncs) {
    log_->warn(
        "the file system cannot sync directories: a checkpoint may be lost if the machine"
        " loses power soon after it directory={}",
        directory_);
  }
  LogForeign();
  return status;
}

absl::Status CheckpointStore::CheckWritable() const {
  const std::string path = absl::StrCat(directory_, "/", kClusterName);
  std::error_code error;
  const fs::file_status file = fs::symlink_status(path, error);
  absl::Status status;
  if (fs::exists(file) && !fs::is_regular_file(file)) {
    status = absl::DataLossError(
        absl::StrCat(path, ": expected the file of this name that servers write, got ",
                     fs::is_symlink(file)     ? "a symbolic link"
                     : fs::is_directory(file) ? "a directory"
                                              : "a device or a pipe"));
  } else if (fs::exists(file)) {
    status = ReadCluster(directory_).status();
  }
  if (absl::IsDataLoss(status)) {
    return absl::FailedPreconditionError(
        absl::StrCat(status.message(), "; move it away, or give another checkpoint.directory"));
  }
  if (!status.ok()) return status;
  DurableFile probe(path, {FaultPoints(), nullptr, /*follow_links=*/false});
  status = probe.Open();
  // A full disk may pass, and is told of by the checkpoints that fail.
  return absl::IsResourceExhausted(status) ? absl::OkStatus() : status;
}

void CheckpointStore::LogForeign() const {
  const absl::StatusOr<std::vector<std::string>> foreign = FindForeign(directory_);
  if (!foreign.ok() || foreign->empty()) return;
  log_->warn(
      "the checkpoint directory holds other things, which stay as they are directory={}"
      " names=\"{}\"",
      directory_, absl::CEscape(JoinFirst(*foreign, ", ")));
}

absl::Status CheckpointStore::RemoveTemporaries() const {
  const absl::StatusOr<std::vector<DirectoryEntry>> entries = ListDirectory(directory_);
  if (!entries.ok()) return entries.status();
  for (const DirectoryEntry& entry : *entries) {
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
  if (!removed.ok())
    return absl::IsNotFound(removed.status()) ? absl::OkStatus() : removed.status();
  for (const std::string& name : *removed) {
    log_->info("removed leftover file={}/{}", step_directory, name);
  }
  return absl::OkStatus();
}

uint64_t CheckpointStore::ReadGeneration() const {
  const absl::StatusOr<nlohmann::json> json = ReadCluster(directory_);
  if (json.ok()) return (*json)["generation"].get<uint64_t>();
  if (absl::IsNotFound(json.status())) return 0;
  log_->warn("the last generation is not known error=\"{}\"", json.status().message());
  return 0;
}

absl::Status CheckpointStore::WriteGeneration(uint64_t generation, const Job& job) const {
  faults_.Pass("generation");
  const nlohmann::ordered_json json = {
      {"generation", generation}, {"job_hash", JobHash(job)}, {"job", JobToText(job)}};
  return WriteDurably(absl::StrCat(directory_, "/", kClusterName),
                      json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
                      {faults_, nullptr, /*follow_links=*/false});
}

absl::Status CheckpointStore::CheckOwner(const Job& job) const {
  const absl::StatusOr<nlohmann::json> json = ReadCluster(directory_);
  if (!json.ok() || !json->contains("job") || !(*json)["job"].is_string()) {
    return absl::OkStatus();
  }
  const absl::StatusOr<Job> written =
      ParseJob((*json)["job"].get<std::string>(), absl::StrCat(directory_, "/", kClusterName));
  if (!written.ok()) return absl::OkStatus();
  return CheckSame(absl::StrCat("the training in ", directory_), job, *written);
}

absl::StatusOr<std::optional<Checkpoint>> CheckpointStore::FindNewest(const Job& job) const {
  const absl::StatusOr<std::map<int64_t, std::string>> steps = FindStepDirectories(directory_);
  if (!steps.ok()) return steps.status();
  std::optional<Checkpoint> newest;
  std::vector<std::string> unfinished;
  std::vector<std::string> damaged;  // what is wrong, with the path
  for (auto step = steps->rbegin(); step != steps->rend() && !newest; ++step) {
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
                     ". Repair one, give another with --restore=DIR, or begin at step 0 with"
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
  const absl::StatusOr<std::vector<DirectoryEntry>> entries = ListDirectory(directory_);
  if (!entries.ok()) return entries.status();
  for (const DirectoryEntry& entry : *entries) {
    if (entry.kind != DirectoryEntry::Kind::kLink || !StepOfName(entry.name)) continue;
    const std::string path = absl::StrCat(directory_, "/", entry.name);
    if (!ReadManifest(path).ok()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(path,
                     " is a symbolic link to a checkpoint, which is not followed. Begin with"
                     " that one with --restore=",
                     path, ", or at step 0 with --no_restore"));
  }
  return absl::OkStatus();
}

absl::Status CheckpointStore::Complete(Manifest manifest, const std::vector<FileEntry>& slice_files,
                                       const History& history, int64_t begun_at) const {
  const std::string directory = StepDirectory(directory_, manifest.step);
  for (const FileEntry& file : slice_files) {
    absl::Status seen =
        CheckSliceFile(directory, file, manifest.shards, manifest.step, manifest.generation);
    if (!seen.ok()) return seen;
  }
  // All parts are there: what is still being written here no longer counts. Beside it, a disk that
  // vanished for a moment may have left half a cluster.json.
  absl::Status cleared = MakeStepDirectory(directory_, manifest.step);
  if (cleared.ok()) cleared = RemoveTemporaries(directory);
  if (cleared.ok()) cleared = RemoveTemporaries();
  if (!cleared.ok()) return cleared;
  absl::StatusOr<FileEntry> history_file = WriteHistory(directory, history, faults_);
  if (!history_file.ok()) return history_file.status();
  manifest.files = slice_files;
  manifest.files.push_back(*std::move(history_file));
  faults_.Pass("manifest");
  absl::Status status = WriteDurably(absl::StrCat(directory, "/", kManifestName), ToJson(manifest),
                                     {faults_, nullptr, /*follow_links=*/false});
  // The name of the checkpoint's directory itself.
  if (status.ok()) status = SyncDirectory(directory_);
  if (!status.ok()) return status;
  faults_.Pass("complete");
  // It is whole, whatever becomes of the others.
  if (absl::Status pruned = Prune(manifest, begun_at); !pruned.ok()) {
    log_->warn("old checkpoints stay for now error=\"{}\"", pruned.message());
  }
  return absl::OkStatus();
}

absl::Status CheckpointStore::Prune(const Manifest& manifest, int64_t begun_at) const {
  const absl::StatusOr<std::map<int64_t, std::string>> steps = FindStepDirectories(directory_);
  if (!steps.ok()) return steps.status();
  // Each shard writes one step after the other: of an older step nobody writes any more, and
  // without a manifest it is what was left when it failed.
  int kept = 0;
  absl::Status status;
  for (auto step = steps->rbegin(); step != steps->rend(); ++step) {
    if (step->first > manifest.step) continue;  // damaged, or being written
    const bool counts = IsKept(step->first, step->second, manifest, begun_at);
    if (counts && kept < keep_) {
      ++kept;
      continue;
    }
    const absl::StatusOr<StepRemoval> removal = RemoveStep(step->second, IsStepFileName);
    status.Update(removal.status());
    if (removal.ok() && !removal->gone && removal->files > 0) {
      log_->warn("old checkpoint removed; the directory holds other things and stays path={}",
                 step->second);
    }
  }
  return status;
}

absl::Status CheckpointStore::SetAside(int64_t step) const {
  const absl::StatusOr<std::map<int64_t, std::string>> steps = FindStepDirectories(directory_);
  if (!steps.ok()) return steps.status();
  std::string target;
  for (const auto& [each, path] : *steps) {
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

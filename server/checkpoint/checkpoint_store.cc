#include "server/checkpoint/checkpoint_store.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/durable_file.h"
#include "common/job_codec.h"
#include "common/partition.h"
#include "common/sha256.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr char kClusterName[] = "cluster.json";
constexpr char kStepPrefix[] = "step-";
constexpr char kAsidePrefix[] = "set-aside-";
constexpr int64_t kMostManifestBytes = int64_t{16} << 20;
constexpr int kMostShards = 1 << 16;

absl::Status Failed(absl::string_view what, const fs::path& path, const std::error_code& error) {
  return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot ", what, " ", path.string()));
}

// The entries of a directory.
absl::StatusOr<std::vector<fs::path>> List(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> paths;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    paths.push_back(entry->path());
  }
  if (error) return Failed("list", directory, error);
  return paths;
}

// The directories of checkpoints, whole or not, by step.
absl::StatusOr<std::map<int64_t, fs::path>> StepDirectories(const fs::path& directory) {
  const absl::StatusOr<std::vector<fs::path>> paths = List(directory);
  if (!paths.ok()) return paths.status();
  std::map<int64_t, fs::path> steps;
  for (const fs::path& path : *paths) {
    const std::string name = path.filename().string();
    absl::string_view digits = name;
    int64_t step = 0;
    if (absl::ConsumePrefix(&digits, kStepPrefix) && absl::SimpleAtoi(digits, &step)) {
      steps[step] = path;
    }
  }
  return steps;
}

// If that cannot be found out, it may be so.
bool HasManifest(const fs::path& directory) {
  std::error_code error;
  return fs::exists(directory / kManifestName, error) || error;
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
      if (partition.slices_of_shard(shard).empty()) continue;
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
bool IsKept(int64_t step, const fs::path& directory, const Manifest& newest, int64_t begun_at) {
  if (step == newest.step) return true;
  if (step <= begun_at) return HasManifest(directory);
  const absl::StatusOr<Manifest> manifest = ReadManifest(directory.string());
  if (manifest.ok()) return manifest->generation == newest.generation;
  return !absl::IsNotFound(manifest.status()) && !absl::IsDataLoss(manifest.status());
}

// Removes temporary files, and says so.
absl::Status RemoveTemporaries(const fs::path& directory, const Logger& log) {
  const absl::StatusOr<std::vector<fs::path>> paths = List(directory);
  if (!paths.ok()) return paths.status();
  for (const fs::path& path : *paths) {
    std::error_code error;
    if (!absl::StrContains(path.filename().string(), kTemporaryMark)) continue;
    if (fs::remove(path, error)) log->info("removed leftover file={}", path.string());
  }
  return absl::OkStatus();
}

// The manifest first: half a checkpoint must not look like one.
absl::Status Remove(const fs::path& directory) {
  std::error_code error;
  fs::remove(directory / kManifestName, error);
  if (!error) fs::remove_all(directory, error);
  return error ? Failed("remove the old checkpoint", directory, error) : absl::OkStatus();
}

}  // namespace

std::string StepDirectory(const std::string& directory, int64_t step) {
  return absl::StrFormat("%s/%s%010d", directory, kStepPrefix, step);
}

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
  if (error) return Failed("make the checkpoint directory", directory_, error);
  absl::Status status = RemoveTemporaries(directory_, log_);
  const absl::StatusOr<std::map<int64_t, fs::path>> steps = StepDirectories(directory_);
  status.Update(steps.status());
  if (!status.ok()) return status;
  for (const auto& [step, path] : *steps) status.Update(RemoveTemporaries(path, log_));
  return status;
}

uint64_t CheckpointStore::ReadGeneration() const {
  const std::string path = absl::StrCat(directory_, "/", kClusterName);
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMostManifestBytes);
  if (absl::IsNotFound(text.status())) return 0;
  if (text.ok()) {
    const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.contains("generation") &&
        json["generation"].is_number_unsigned()) {
      return json["generation"].get<uint64_t>();
    }
  }
  log_->warn("the last generation is not known file={} error=\"{}\"", path,
             text.ok() ? "no JSON object with a generation" : text.status().message());
  return 0;
}

absl::Status CheckpointStore::WriteGeneration(uint64_t generation, const Job& job) const {
  faults_.Pass("generation");
  const nlohmann::ordered_json json = {
      {"generation", generation}, {"job_hash", JobHash(job)}, {"job", JobToText(job)}};
  return WriteDurably(absl::StrCat(directory_, "/", kClusterName),
                      json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
                      faults_);
}

absl::Status CheckpointStore::CheckOwner(const Job& job) const {
  const std::string path = absl::StrCat(directory_, "/", kClusterName);
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMostManifestBytes);
  if (!text.ok()) return absl::OkStatus();
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("job") || !json["job"].is_string()) {
    return absl::OkStatus();
  }
  const absl::StatusOr<Job> written = ParseJob(json["job"].get<std::string>(), path);
  if (!written.ok()) return absl::OkStatus();
  return CheckSame(absl::StrCat("the training in ", directory_), job, *written);
}

absl::StatusOr<std::optional<Checkpoint>> CheckpointStore::FindNewest(const Job& job) const {
  const absl::StatusOr<std::map<int64_t, fs::path>> steps = StepDirectories(directory_);
  if (!steps.ok()) return steps.status();
  for (auto step = steps->rbegin(); step != steps->rend(); ++step) {
    absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(step->second.string(), job);
    if (checkpoint.ok()) return std::optional<Checkpoint>(*std::move(checkpoint));
    if (absl::IsFailedPrecondition(checkpoint.status())) return checkpoint.status();
    if (absl::IsNotFound(checkpoint.status())) {
      log_->info("checkpoint was not completed, passed over path={}", step->second.string());
    } else {
      log_->error("checkpoint is damaged, passed over path={} error=\"{}\"", step->second.string(),
                  checkpoint.status().message());
    }
  }
  return std::optional<Checkpoint>();
}

absl::Status CheckpointStore::Complete(Manifest manifest, const std::vector<FileEntry>& slice_files,
                                       const History& history, int64_t begun_at) const {
  const std::string directory = StepDirectory(directory_, manifest.step);
  // All parts are there: what is still being written here is by nobody who counts. Beside it, a
  // disk that vanished for a moment may have left half a cluster.json.
  for (const std::string& where : {directory, directory_}) {
    if (absl::Status status = RemoveTemporaries(where, log_); !status.ok()) return status;
  }
  absl::StatusOr<FileEntry> history_file = WriteHistory(directory, history, faults_);
  if (!history_file.ok()) return history_file.status();
  manifest.files = slice_files;
  manifest.files.push_back(*std::move(history_file));
  faults_.Pass("manifest");
  absl::Status status =
      WriteDurably(absl::StrCat(directory, "/", kManifestName), ToJson(manifest), faults_);
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
  const absl::StatusOr<std::map<int64_t, fs::path>> steps = StepDirectories(directory_);
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
    status.Update(Remove(step->second));
  }
  return status;
}

absl::Status CheckpointStore::SetAside(int64_t step) const {
  const absl::StatusOr<std::map<int64_t, fs::path>> steps = StepDirectories(directory_);
  if (!steps.ok()) return steps.status();
  fs::path target;
  for (const auto& [each, path] : *steps) {
    if (each <= step) continue;
    std::error_code error;
    if (target.empty()) {
      int number = 1;
      do {
        target = fs::path(directory_) / absl::StrCat(kAsidePrefix, number++);
      } while (fs::exists(target, error));
      fs::create_directory(target, error);
    }
    if (!error) fs::rename(path, target / path.filename(), error);
    if (error) return Failed("set aside the checkpoint", path, error);
    log_->warn("checkpoint set aside from={} to={}", path.string(), target.string());
  }
  return target.empty() ? absl::OkStatus() : SyncDirectory(directory_);
}

}  // namespace percentdelta

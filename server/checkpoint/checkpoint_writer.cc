// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_writer.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/checkpoint/manifest.h"
#include "server/update/optimizer.h"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kMaxPause = absl::Minutes(1);

int64_t DataBytes(const ShardContent& content) {
  int64_t entries = 0;
  for (const SliceContent& slice : content.slices) {
    entries += slice.range.size() * static_cast<int64_t>(1 + slice.state.size());
  }
  return entries * static_cast<int64_t>(sizeof(float));
}

// Also true if that cannot be determined.
bool MayHaveManifest(const std::string& directory) {
  std::error_code error;
  const std::string path = absl::StrCat(directory, "/", kManifestName);
  return fs::exists(fs::symlink_status(path, error)) ||
         (error && error != std::errc::no_such_file_or_directory);
}

}  // namespace

CheckpointWriter::CheckpointWriter(Options options)
    : options_(std::move(options)), next_pause_(kFirstPause), thread_([this] { Run(); }) {}

CheckpointWriter::~CheckpointWriter() { Stop(); }

void CheckpointWriter::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  pause_.Cut();
  if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::Write(ShardContent content) {
  absl::MutexLock lock(&mutex_);
  if (content.generation != generation_) return;
  const Pace::Clock::time_point now = Pace::Clock::now();
  // The next checkpoint is skipped unless this one is complete a step before it.
  const int64_t steps = std::max<int64_t>(content.step - last_step_, 1);
  const Pace::Clock::time_point due = now + (now - last_time_) * (steps - 1) / (2 * steps);
  last_time_ = now;
  last_step_ = content.step;
  queue_.push_back({std::move(content), due});
}

void CheckpointWriter::Enter(uint64_t generation, int64_t step) {
  if (options_.shard != 0) {
    // The coordinator writes the file before it announces the generation.
    const CheckpointStore store(options_.job.checkpoint->directory, 1, FaultPoints(), options_.log);
    if (const uint64_t seen = store.ReadGeneration(); seen != generation) {
      std::error_code error;
      options_.log->warn(
          "the checkpoint directory is not the coordinator's expected=\"{} of generation {}\""
          " got=\"{}\" directory=\"{}\" effect=\"no checkpoint will be complete\""
          " advice=\"all servers must see one directory\"",
          kClusterName, generation, seen == 0 ? "none" : absl::StrCat("generation ", seen),
          fs::absolute(options_.job.checkpoint->directory, error).string());
    }
  }
  {
    absl::MutexLock lock(&mutex_);
    generation_ = generation;
    last_time_ = Pace::Clock::now();
    last_step_ = step;
    queue_.clear();
    parts_.clear();
  }
  pause_.Cut();
}

std::vector<CheckpointPart> CheckpointWriter::parts() const {
  absl::MutexLock lock(&mutex_);
  return {parts_.begin(), parts_.end()};
}

size_t CheckpointWriter::queued() const {
  absl::MutexLock lock(&mutex_);
  return queue_.size();
}

void CheckpointWriter::Forget(size_t count) {
  absl::MutexLock lock(&mutex_);
  parts_.erase(parts_.begin(), parts_.begin() + std::min(count, parts_.size()));
}

void CheckpointWriter::Run() {
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !queue_.empty();
  };
  while (true) {
    Task task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&ready));
      if (stopping_) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    CheckpointPart part = WritePart(task);
    const bool failed = !part.error.empty();
    {
      absl::MutexLock lock(&mutex_);
      if (task.content.generation != generation_) continue;
      parts_.push_back(std::move(part));
    }
    options_.on_part();
    if (!failed) {
      next_pause_ = kFirstPause;
    } else if (task.content.step == options_.job.max_steps) {
      Retry(std::move(task));
    }
  }
}

void CheckpointWriter::Retry(Task task) {
  pause_.Take(next_pause_);
  next_pause_ = std::min(2 * next_pause_, kMaxPause);
  absl::MutexLock lock(&mutex_);
  if (task.content.generation == generation_) queue_.push_front(std::move(task));
}

bool CheckpointWriter::HasTime(const ShardContent& content) const {
  if (content.step == options_.job.max_steps) return false;  // the end of the training waits
  absl::MutexLock lock(&mutex_);
  return !stopping_ && queue_.empty() && content.generation == generation_;
}

void CheckpointWriter::RemoveOldParts(const ShardContent& content) {
  if (content.generation != written_generation_) written_step_ = -1;
  if (content.step != written_step_) previous_step_ = written_step_;
  written_generation_ = content.generation;
  written_step_ = content.step;
  const std::string own = SliceFileName(options_.shard, options_.shards);
  const auto steps = FindStepDirectories(options_.job.checkpoint->directory);
  if (!steps.ok()) return;  // writing reports the error
  const auto is_temporary = [&](absl::string_view name) { return IsTemporaryName(name, own); };
  const auto is_own = [&](absl::string_view name) { return name == own || is_temporary(name); };
  for (const auto& [step, path] : *steps) {
    if (step > content.step) break;
    if (step == content.step) {
      // The directory stays, even if empty: another shard may be about to write into it.
      RemoveFiles(path, is_temporary).status().IgnoreError();
    } else if (step != previous_step_ && !MayHaveManifest(path)) {
      const absl::StatusOr<StepRemoval> removal = RemoveStep(path, is_own);
      if (removal.ok() && removal->files > 0) {
        options_.log->info("removed leftover path={} files={}", path, removal->files);
      }
    }
  }
}

absl::StatusOr<FileEntry> CheckpointWriter::WriteFile(const Task& task) {
  const ShardContent& content = task.content;
  Pace pace(&pause_, task.due);
  const auto bytes = static_cast<double>(DataBytes(content));
  DurableFile::Options file_options;
  file_options.faults = options_.faults;
  file_options.follow_links = false;
  file_options.after_piece = [&](int64_t written) {
    if (HasTime(content)) pace.Take(static_cast<double>(written) / bytes);
  };
  RemoveOldParts(content);
  const std::string& directory = options_.job.checkpoint->directory;
  RETURN_IF_ERROR(MakeStepDirectory(directory, content.step));
  return WriteSliceFile(StepDirectory(directory, content.step), options_.shard, options_.shards,
                        content, options_.job.model, StateNames(options_.job), file_options);
}

CheckpointPart CheckpointWriter::WritePart(const Task& task) {
  const int64_t step = task.content.step;
  absl::StatusOr<FileEntry> file;
  {
    const ScopedDuration timed(counters_.duration);
    file = WriteFile(task);
  }
  CheckpointPart part;
  part.step = step;
  if (file.ok()) {
    part.file = *std::move(file);
    counters_.bytes += part.file.bytes;
  } else {
    ++counters_.failures;
    part.error = absl::StrCat("shard ", options_.shard, ": ", file.status().message());
    options_.log->error("checkpoint part failed step={} error=\"{}\"", step,
                        file.status().message());
  }
  return part;
}

}  // namespace percentdelta

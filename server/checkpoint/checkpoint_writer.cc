#include "server/checkpoint/checkpoint_writer.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/update/optimizer.h"

namespace percentdelta {

namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(1);

int64_t DataBytes(const ShardContent& content) {
  int64_t entries = 0;
  for (const SliceContent& slice : content.slices) {
    entries += slice.slice.size() * static_cast<int64_t>(1 + slice.state.size());
  }
  return entries * static_cast<int64_t>(sizeof(float));
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
  // The next one is skipped if this one is not whole a step before it.
  const int64_t steps = std::max<int64_t>(content.step - last_step_, 1);
  const Pace::Clock::time_point due = now + (now - last_time_) * (steps - 1) / (2 * steps);
  last_time_ = now;
  last_step_ = content.step;
  queue_.push_back({std::move(content), due});
}

void CheckpointWriter::Enter(uint64_t generation, int64_t step) {
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
    options_.written();
    if (!failed) {
      next_pause_ = kFirstPause;
    } else if (task.content.step == options_.job.max_steps) {
      TryAgain(std::move(task));
    }
  }
}

void CheckpointWriter::TryAgain(Task task) {
  pause_.Take(next_pause_);
  next_pause_ = std::min(2 * next_pause_, kLongestPause);
  absl::MutexLock lock(&mutex_);
  if (task.content.generation == generation_) queue_.push_front(std::move(task));
}

bool CheckpointWriter::HasTime(const ShardContent& content) const {
  if (content.step == options_.job.max_steps) return false;  // the training is over
  absl::MutexLock lock(&mutex_);
  return !stopping_ && queue_.empty() && content.generation == generation_;
}

CheckpointPart CheckpointWriter::WritePart(const Task& task) {
  const ShardContent& content = task.content;
  CheckpointPart part;
  Pace pace(&pause_, task.due);
  const auto bytes = static_cast<double>(DataBytes(content));
  DurableFile::Options file_options;
  file_options.faults = options_.faults;
  file_options.after_piece = [&](int64_t written) {
    if (HasTime(content)) pace.Take(static_cast<double>(written) / bytes);
  };
  part.step = content.step;
  const std::string directory = StepDirectory(options_.job.checkpoint->directory, content.step);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  absl::StatusOr<FileEntry> file =
      error ? absl::ErrnoToStatus(error.value(), absl::StrCat("cannot make ", directory))
            : WriteSliceFile(directory, options_.shard, options_.shards, content.step,
                             options_.job.model, StateNames(options_.job), content.slices,
                             file_options);
  if (file.ok()) {
    part.file = *std::move(file);
  } else {
    part.error = absl::StrCat("shard ", options_.shard, ": ", file.status().message());
    options_.log->error("checkpoint part failed step={} error=\"{}\"", content.step,
                        file.status().message());
  }
  return part;
}

}  // namespace percentdelta

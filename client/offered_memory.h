// The memory that a client offers to the shards of one generation, and which of them take it: those
// on its own machine (common/transport/shared_memory.h).

#ifndef PERCENTDELTA_CLIENT_OFFERED_MEMORY_H_
#define PERCENTDELTA_CLIENT_OFFERED_MEMORY_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/transport/shared_memory.h"

namespace percentdelta {

// Thread-safe.
class OfferedMemory {
 public:
  // What is known of a shard.
  enum class Answer { kUnknown, kTakes, kRefuses };

  // Of so many values each. Without `offers` nothing is ever offered.
  OfferedMemory(int64_t values, int shards, bool offers)
      : values_(values), answers_(shards, offers ? Answer::kUnknown : Answer::kRefuses) {}

  Answer answer(int shard) const {
    absl::MutexLock lock(&mutex_);
    return answers_[shard];
  }

  // Shards that are known to take it.
  int takers() const {
    absl::MutexLock lock(&mutex_);
    return static_cast<int>(std::count(answers_.begin(), answers_.end(), Answer::kTakes));
  }

  // A refusal is for good.
  void NoteTaken(int shard) {
    absl::MutexLock lock(&mutex_);
    if (answers_[shard] == Answer::kUnknown) answers_[shard] = Answer::kTakes;
  }
  void NoteRefused(int shard) {
    absl::MutexLock lock(&mutex_);
    answers_[shard] = Answer::kRefuses;
  }

  // Why none could be made; kOk as long as that has not happened.
  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  // Memory for a call to each shard; null if nobody would take it, or the system has none.
  std::shared_ptr<SharedMemory> Take() {
    absl::MutexLock lock(&mutex_);
    const auto refuses = [](Answer answer) { return answer == Answer::kRefuses; };
    if (std::all_of(answers_.begin(), answers_.end(), refuses)) {
      free_.clear();
      return nullptr;
    }
    if (!free_.empty()) {
      std::shared_ptr<SharedMemory> memory = std::move(free_.back());
      free_.pop_back();
      return memory;
    }
    absl::StatusOr<std::shared_ptr<SharedMemory>> memory = SharedMemory::Make(values_);
    if (memory.ok()) return *std::move(memory);
    status_ = memory.status();
    std::fill(answers_.begin(), answers_.end(), Answer::kRefuses);
    return nullptr;
  }

  // For the next call, when all calls that had it ended well. Where one did not it must not be used
  // again: a shard that hung may still be about to read or write it.
  void Return(std::shared_ptr<SharedMemory> memory) {
    if (memory == nullptr) return;
    absl::MutexLock lock(&mutex_);
    free_.push_back(std::move(memory));
  }

 private:
  const int64_t values_;

  mutable absl::Mutex mutex_;
  std::vector<Answer> answers_ ABSL_GUARDED_BY(mutex_);  // by shard
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<SharedMemory>> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_OFFERED_MEMORY_H_

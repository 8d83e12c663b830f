// SPDX-License-Identifier: Apache-2.0

// The shared memory that a client offers to the shards of one generation, and which of them accept
// it: those on its own machine (common/transport/shared_memory.h).

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
  // Whether a shard accepts the memory.
  enum class Answer { kUnknown, kAccepts, kRefuses };

  // `values`: the size of each memory region. If `offers` is false, nothing is ever offered.
  OfferedMemory(int64_t values, int shards, bool offers)
      : values_(values), answers_(shards, offers ? Answer::kUnknown : Answer::kRefuses) {}

  Answer answer(int shard) const {
    absl::MutexLock lock(&mutex_);
    return answers_[shard];
  }

  // Returns the number of shards that are known to accept it.
  int takers() const {
    absl::MutexLock lock(&mutex_);
    return static_cast<int>(std::count(answers_.begin(), answers_.end(), Answer::kAccepts));
  }

  // Record a shard's answer. A refusal is final.
  void NoteAccepted(int shard) {
    absl::MutexLock lock(&mutex_);
    if (answers_[shard] == Answer::kUnknown) answers_[shard] = Answer::kAccepts;
  }
  void NoteRefused(int shard) {
    absl::MutexLock lock(&mutex_);
    answers_[shard] = Answer::kRefuses;
  }

  // Returns why memory could not be allocated; kOk unless that happened.
  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  // Returns memory for one call to every shard; null if all shards refuse it or the system has
  // none.
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

  // Makes the memory available to the next Take(). Must be called only after all calls that used it
  // succeeded: after any other end, a shard that hung may still read or write it.
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

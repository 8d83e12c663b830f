// SPDX-License-Identifier: Apache-2.0

// Recycled float buffers. A step allocates buffers of the size of the model several times; fresh
// memory costs a page fault every 4 KiB, about as much as the update itself.

#ifndef PERCENTDELTA_SERVER_SHARD_BUFFER_POOL_H_
#define PERCENTDELTA_SERVER_SHARD_BUFFER_POOL_H_

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace percentdelta {

using Buffer = std::shared_ptr<std::vector<float>>;

// Buffers of one size. Thread-safe; buffers may outlive the pool.
class BufferPool {
 public:
  // Retains up to `max_retained` unused buffers of `entries` floats; frees those beyond.
  BufferPool(size_t entries, size_t max_retained)
      : free_(std::make_shared<FreeList>(max_retained)), entries_(entries) {}

  // Returns a buffer, contents undefined, which returns to the pool when its last owner drops it.
  Buffer Take() {
    Buffer buffer = TakeEmpty();
    buffer->resize(entries_);
    return buffer;
  }

  // The same, but a new buffer has no entries yet, only room for them: memory is used as the caller
  // resizes it.
  Buffer TakeEmpty() {
    std::unique_ptr<std::vector<float>> buffer = free_->Pop();
    if (buffer == nullptr) {
      buffer = std::make_unique<std::vector<float>>();
      buffer->reserve(entries_);
    }
    return Buffer(buffer.release(), [free = free_](std::vector<float>* returned) {
      free->Push(std::unique_ptr<std::vector<float>>(returned));
    });
  }

  // The number of buffers in use.
  size_t taken() const {
    absl::MutexLock lock(&free_->mutex);
    return free_->taken;
  }

  // The number of unused buffers.
  size_t retained() const {
    absl::MutexLock lock(&free_->mutex);
    return free_->buffers.size();
  }

 private:
  struct FreeList {
    explicit FreeList(size_t max_retained) : max_retained(max_retained) {}

    // Null: there is none.
    std::unique_ptr<std::vector<float>> Pop() {
      absl::MutexLock lock(&mutex);
      ++taken;
      if (buffers.empty()) return nullptr;
      std::unique_ptr<std::vector<float>> buffer = std::move(buffers.back());
      buffers.pop_back();
      return buffer;
    }
    void Push(std::unique_ptr<std::vector<float>> buffer) {
      absl::MutexLock lock(&mutex);
      --taken;
      if (buffers.size() < max_retained) buffers.push_back(std::move(buffer));
    }

    const size_t max_retained;
    absl::Mutex mutex;
    std::vector<std::unique_ptr<std::vector<float>>> buffers ABSL_GUARDED_BY(mutex);
    size_t taken ABSL_GUARDED_BY(mutex) = 0;
  };

  const std::shared_ptr<FreeList> free_;
  const size_t entries_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_BUFFER_POOL_H_

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
  // Keeps up to `max_kept` unused buffers of `entries` floats; frees those beyond.
  BufferPool(size_t entries, size_t max_kept)
      : free_(std::make_shared<FreeList>(max_kept)), entries_(entries) {}

  // Contents are undefined. The buffer returns to the pool when its last owner lets go of it.
  Buffer Take() {
    std::unique_ptr<std::vector<float>> buffer = free_->Pop();
    if (buffer == nullptr) buffer = std::make_unique<std::vector<float>>(entries_);
    return Buffer(buffer.release(), [free = free_](std::vector<float>* returned) {
      free->Push(std::unique_ptr<std::vector<float>>(returned));
    });
  }

  // Buffers that are taken at present.
  size_t taken() const {
    absl::MutexLock lock(&free_->mutex);
    return free_->taken;
  }

  // Unused buffers that are kept at present.
  size_t kept() const {
    absl::MutexLock lock(&free_->mutex);
    return free_->buffers.size();
  }

 private:
  struct FreeList {
    explicit FreeList(size_t most) : max_kept(most) {}

    // Null: none is kept.
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
      if (buffers.size() < max_kept) buffers.push_back(std::move(buffer));
    }

    const size_t max_kept;
    absl::Mutex mutex;
    std::vector<std::unique_ptr<std::vector<float>>> buffers ABSL_GUARDED_BY(mutex);
    size_t taken ABSL_GUARDED_BY(mutex) = 0;
  };

  const std::shared_ptr<FreeList> free_;
  const size_t entries_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_BUFFER_POOL_H_

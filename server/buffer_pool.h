// Recycled float buffers. A step allocates buffers of the size of the model several times; fresh
// memory costs a page fault every 4 KiB, about as much as the update itself.

#ifndef PERCENTDELTA_SERVER_BUFFER_POOL_H_
#define PERCENTDELTA_SERVER_BUFFER_POOL_H_

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
  explicit BufferPool(size_t entries) : free_(std::make_shared<FreeList>()), entries_(entries) {}

  // Contents are undefined. The buffer returns to the pool when its last owner lets go of it.
  Buffer Take() {
    std::unique_ptr<std::vector<float>> buffer = free_->Pop();
    if (buffer == nullptr) buffer = std::make_unique<std::vector<float>>(entries_);
    return Buffer(buffer.release(), [free = free_](std::vector<float>* returned) {
      free->Push(std::unique_ptr<std::vector<float>>(returned));
    });
  }

 private:
  // What is kept for later; beyond it buffers are freed. Three for the steps, two for a
  // checkpoint's weights and velocity.
  static constexpr size_t kKept = 5;

  struct FreeList {
    std::unique_ptr<std::vector<float>> Pop() {
      absl::MutexLock lock(&mutex);
      if (buffers.empty()) return nullptr;
      std::unique_ptr<std::vector<float>> buffer = std::move(buffers.back());
      buffers.pop_back();
      return buffer;
    }
    void Push(std::unique_ptr<std::vector<float>> buffer) {
      absl::MutexLock lock(&mutex);
      if (buffers.size() < kKept) buffers.push_back(std::move(buffer));
    }

    absl::Mutex mutex;
    std::vector<std::unique_ptr<std::vector<float>>> buffers ABSL_GUARDED_BY(mutex);
  };

  const std::shared_ptr<FreeList> free_;
  const size_t entries_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_BUFFER_POOL_H_

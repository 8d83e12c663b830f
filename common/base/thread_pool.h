// A fixed set of threads for computing. Never used for waiting: nothing that runs here blocks on
// a lock held over I/O, on the network or on another task.

#ifndef PERCENTDELTA_COMMON_BASE_THREAD_POOL_H_
#define PERCENTDELTA_COMMON_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace percentdelta {

// Thread-safe. The destructor runs what is still scheduled, then joins.
class ThreadPool {
 public:
  // `threads` >= 1. Throws std::system_error if they cannot be started.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(threads_.size()); }

  // Runs `task` on one of the threads, in the order of scheduling, some time.
  void Schedule(std::function<void()> task);

  // Calls tile(0) ... tile(tiles - 1), each once, on the pool's threads and the calling one, and
  // returns when all have returned. Which thread runs which tile is not determined, so a result
  // must not depend on it. May be called from a task: the caller takes tiles itself, so it never
  // waits for a thread that is not already computing.
  //
  // At most `threads()` threads compute, the caller among them.
  void ParallelFor(int64_t tiles, const std::function<void(int64_t)>& tile);

  // For a computation whose result is not wanted any more: from now on ParallelFor returns without
  // calling the tiles that have not been begun. Cannot be undone. Tasks are still run.
  void Cancel() { cancelled_ = true; }

  // While this is false, all tiles of the loops that have returned were called. Loops outside of
  // the pool should ask now and then, and end when it is true.
  bool cancelled() const { return cancelled_; }

 private:
  void Run();
  void Stop();

  std::atomic<bool> cancelled_{false};

  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;  // constant after construction
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_THREAD_POOL_H_

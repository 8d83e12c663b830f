// SPDX-License-Identifier: Apache-2.0

// A fixed set of threads for computation. Tasks must not wait: neither for the network, nor for
// another task, nor for a lock that is held during I/O.

#ifndef PERCENTDELTA_COMMON_BASE_THREAD_POOL_H_
#define PERCENTDELTA_COMMON_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace percentdelta {

// Thread-safe. The destructor runs the tasks that are still queued, then joins.
class ThreadPool {
 public:
  // `threads` >= 1. Throws std::system_error if a thread cannot be started.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(threads_.size()); }

  // Queues `task`, to run on one of the threads. Tasks start in the order of scheduling.
  void Schedule(std::function<void()> task);

  // Tasks that have not started.
  size_t queued() const;

  // Calls tile(0) ... tile(tiles - 1), each once, on the pool's threads and the calling one, and
  // returns when all have returned. Results must not depend on which thread runs which tile. May be
  // called from a task: the caller takes tiles itself, so it never waits for a thread that is not
  // already computing.
  //
  // At most `threads()` threads compute, including the caller.
  void ParallelFor(int64_t tiles, const std::function<void(int64_t)>& tile);

  // For when results are no longer needed: from now on ParallelFor skips the tiles that have not
  // started. Cannot be undone. Tasks still run.
  void Cancel() { cancelled_ = true; }

  // While this is false, loops that have returned have called all their tiles. Long loops outside
  // of the pool should check it regularly, and end when it is true.
  bool cancelled() const { return cancelled_; }

 private:
  void Run();
  void Stop();

  std::atomic<bool> cancelled_{false};

  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;  // constant after construction
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_THREAD_POOL_H_

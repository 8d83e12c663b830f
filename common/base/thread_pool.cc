// SPDX-License-Identifier: Apache-2.0

#include "common/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"

namespace percentdelta {
namespace {

// The state of one ParallelFor. Shared with tasks that may run only after the loop has ended: they
// then find no tile left.
struct Loop {
  Loop(int64_t tile_count, const std::function<void(int64_t)>& tile_function,
       const std::atomic<bool>& pool_cancelled)
      : tiles(tile_count), tile(&tile_function), cancelled(pool_cancelled) {}

  void TakeTiles() {
    for (int64_t index = next.fetch_add(1); index < tiles; index = next.fetch_add(1)) {
      // `tile` is alive: ParallelFor waits for every tile that was taken.
      if (!cancelled) (*tile)(index);
      absl::MutexLock lock(&mutex);
      ++done;
    }
  }

  const int64_t tiles;
  const std::function<void(int64_t)>* const tile;
  const std::atomic<bool>& cancelled;  // the pool's
  std::atomic<int64_t> next{0};
  absl::Mutex mutex;
  int64_t done ABSL_GUARDED_BY(mutex) = 0;
};

}  // namespace

ThreadPool::ThreadPool(int threads) {
  // If a thread cannot be started, end those that have been.
  absl::Cleanup stop = [this] { Stop(); };
  threads_.reserve(threads);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  std::move(stop).Cancel();
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Schedule(std::function<void()> task) {
  absl::MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
}

size_t ThreadPool::queued() const {
  absl::MutexLock lock(&mutex_);
  return tasks_.size();
}

void ThreadPool::ParallelFor(int64_t tiles, const std::function<void(int64_t)>& tile) {
  if (tiles <= 0) return;
  auto loop = std::make_shared<Loop>(tiles, tile, cancelled_);
  const int64_t helpers = std::min<int64_t>(threads() - 1, tiles - 1);
  for (int64_t i = 0; i < helpers; ++i) Schedule([loop] { loop->TakeTiles(); });
  loop->TakeTiles();
  absl::MutexLock lock(&loop->mutex);
  loop->mutex.Await(absl::Condition(
      +[](Loop* l) ABSL_EXCLUSIVE_LOCKS_REQUIRED(l->mutex) { return l->done == l->tiles; },
      loop.get()));
}

void ThreadPool::Run() {
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !tasks_.empty();
  };
  while (true) {
    std::function<void()> task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&has_work));
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace percentdelta

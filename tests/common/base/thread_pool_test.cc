// SPDX-License-Identifier: Apache-2.0

#include "common/base/thread_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"

namespace percentdelta {
namespace {

using ::testing::Each;

class ThreadPoolTest : public testing::TestWithParam<int> {
 protected:
  // Plain ints, one per tile: thread sanitizer checks that the return is ordered after the tiles.
  static void ExpectEachOnce(ThreadPool& pool, int64_t tiles) {
    std::vector<int> runs(tiles);
    pool.ParallelFor(tiles, [&](int64_t tile) { ++runs[tile]; });
    EXPECT_THAT(runs, Each(1));
  }
};

TEST_P(ThreadPoolTest, RunsEachTileOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  for (const int64_t tiles : {0, 1, 2, 3, 7, 64, 1000}) ExpectEachOnce(pool, tiles);
}

TEST_P(ThreadPoolTest, NoTilesForANegativeNumber) {
  ThreadPool pool(GetParam());
  pool.ParallelFor(-1, [](int64_t) { ADD_FAILURE(); });
}

TEST_P(ThreadPoolTest, LoopsNest) {
  ThreadPool pool(GetParam());
  std::vector<std::vector<int>> runs(8, std::vector<int>(9));
  pool.ParallelFor(8, [&](int64_t outer) {
    pool.ParallelFor(9, [&, outer](int64_t inner) { ++runs[outer][inner]; });
  });
  EXPECT_THAT(runs, Each(Each(1)));
}

// More tasks than threads, each with a loop: no thread waits for one that waits itself.
TEST_P(ThreadPoolTest, LoopsInTasks) {
  ThreadPool pool(GetParam());
  absl::BlockingCounter left(20);
  for (int task = 0; task < 20; ++task) {
    pool.Schedule([&] {
      ExpectEachOnce(pool, 10);
      left.DecrementCount();
    });
  }
  left.Wait();
}

TEST_P(ThreadPoolTest, LoopsFromManyThreads) {
  ThreadPool pool(GetParam());
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int loop = 0; loop < 50; ++loop) ExpectEachOnce(pool, 17);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(ThreadPoolTest, AtMostItsNumberOfThreadsComputes) {
  ThreadPool pool(GetParam());
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  pool.ParallelFor(500, [&](int64_t) {
    const int now = ++running;
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    --running;
  });
  EXPECT_LE(most, GetParam());
}

TEST_P(ThreadPoolTest, DestructorRunsWhatIsScheduled) {
  std::atomic<int> runs = 0;
  {
    ThreadPool pool(GetParam());
    absl::Notification begin;
    pool.Schedule([&] { begin.WaitForNotification(); });
    for (int i = 0; i < 50; ++i) {
      // Including tasks that are scheduled while it waits.
      pool.Schedule([&] { pool.Schedule([&] { ++runs; }); });
    }
    begin.Notify();
  }
  EXPECT_EQ(runs, 50);
}

TEST_P(ThreadPoolTest, ReleasesTasks) {
  auto held = std::make_shared<int>(1);
  {
    ThreadPool pool(GetParam());
    pool.Schedule([held] {});
    pool.ParallelFor(100, [held](int64_t) {});
  }
  EXPECT_EQ(held.use_count(), 1);
}

// Tiles that have started are completed; no other starts, in this loop or a later one.
TEST_P(ThreadPoolTest, CancelledLoopsReturnWithoutTheirOtherTiles) {
  ThreadPool pool(GetParam());
  std::atomic<int> runs{0};
  EXPECT_FALSE(pool.cancelled());
  pool.ParallelFor(1000, [&](int64_t) {
    ++runs;
    pool.Cancel();
  });
  EXPECT_TRUE(pool.cancelled());
  EXPECT_GE(runs, 1);
  EXPECT_LE(runs, GetParam());
  pool.ParallelFor(1000, [](int64_t) { ADD_FAILURE(); });
}

TEST_P(ThreadPoolTest, RunsTasksEvenIfCancelled) {
  ThreadPool pool(GetParam());
  pool.Cancel();
  absl::Notification ran;
  pool.Schedule([&] { ran.Notify(); });
  ran.WaitForNotification();
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

TEST(OneThreadTest, RunsTasksInTheOrderOfScheduling) {
  std::vector<int> order;
  {
    ThreadPool pool(1);
    for (int i = 0; i < 100; ++i) pool.Schedule([&order, i] { order.push_back(i); });
  }
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.size(), 100U);
}

TEST(OneThreadTest, TheCallerComputesAlone) {
  ThreadPool pool(1);
  pool.ParallelFor(100, [caller = std::this_thread::get_id()](int64_t) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
}

}  // namespace
}  // namespace percentdelta

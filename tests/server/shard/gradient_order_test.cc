// SPDX-License-Identifier: Apache-2.0

// Gradients of many slots come in any order: the weights are those of a plain sum in slot order,
// bit for bit, and only the gradients that wait for their turn are held.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/random.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

constexpr uint64_t kSeed = 15;
constexpr int32_t kSlots = 9;
constexpr int64_t kSteps = 3;

Job JobOfSlots(int32_t slots) {
  Job job = SmallJob();
  job.gradients_per_step = slots;
  return job;
}

// Sums of these depend on the order of addition, also in double: a slot's magnitude is its own.
Gradient TestGradient(int64_t step, int32_t slot) {
  Gradient gradient = RandomGradient(SmallJob().model, kSeed, step, slot);
  const float scale = slot % 3 == 0 ? 1e9F : slot % 3 == 1 ? -1e-9F : 1.0F;
  for (auto& values : gradient) {
    for (float& value : values) value *= scale;
  }
  return gradient;
}

Gradient PlainMean(int64_t step) {
  Gradient mean = TestGradient(step, 0);
  std::vector<Gradient> slots;
  slots.reserve(kSlots);
  for (int32_t slot = 0; slot < kSlots; ++slot) slots.push_back(TestGradient(step, slot));
  for (size_t t = 0; t < mean.size(); ++t) {
    for (size_t i = 0; i < mean[t].size(); ++i) {
      double sum = 0;
      for (const Gradient& slot : slots) sum += slot[t][i];
      mean[t][i] = static_cast<float>(sum / kSlots);
    }
  }
  return mean;
}

// The weights by step, under a job of one slot whose gradient is the mean.
std::vector<Gradient> WeightsOfPlainMeans() {
  const ShardGroup group(JobOfSlots(1), 1, 1);
  std::vector<Gradient> weights = {group.Weights(0)};
  for (int64_t step = 0; step < kSteps; ++step) {
    EXPECT_OK(group.Push(step, 0, PlainMean(step)));
    weights.push_back(group.Weights(step + 1));
  }
  return weights;
}

std::vector<int32_t> InOrder() {
  std::vector<int32_t> slots(kSlots);
  std::iota(slots.begin(), slots.end(), 0);
  return slots;
}

// Waits for all tasks that a pool of one thread has so far.
void RunDry(ThreadPool& pool) {
  absl::Notification done;
  pool.Schedule([&] { done.Notify(); });
  done.WaitForNotification();
}

struct Order {
  std::string name;
  std::vector<int32_t> slots;  // pushed one after the other; some twice
};

std::vector<Order> Orders() {
  std::vector<Order> orders = {{"in order", InOrder()},
                               {"reversed", InOrder()},
                               {"interleaved", {1, 0, 3, 2, 5, 4, 7, 6, 8}},
                               {"the first one last", {1, 2, 3, 4, 5, 6, 7, 8, 0}},
                               {"the last one first", {8, 0, 1, 2, 3, 4, 5, 6, 7}},
                               {"twice in a row", {0, 0, 2, 2, 1, 1, 3, 4, 4, 8, 8, 7, 6, 6, 5}},
                               {"again at the end", {3, 1, 2, 0, 3, 1, 0, 8, 7, 6, 5, 5, 2, 4}}};
  std::reverse(orders[1].slots.begin(), orders[1].slots.end());
  for (uint64_t index = 0; index < 4; ++index) {
    std::vector<int32_t> slots = InOrder();
    RandomStream random(kSeed, index);
    for (size_t i = slots.size(); i > 1; --i) std::swap(slots[i - 1], slots[random.Below(i)]);
    orders.push_back({absl::StrCat("random, seed ", kSeed, ", stream ", index), slots});
  }
  return orders;
}

class GradientOrderTest : public testing::Test {
 protected:
  const std::vector<Gradient> expected_ = WeightsOfPlainMeans();
};

TEST_F(GradientOrderTest, SameBitsInAnyOrder) {
  ASSERT_NE(expected_[1], expected_[0]);
  for (const Order& order : Orders()) {
    for (const auto& [shards, threads] : {std::pair(1, 1), std::pair(3, 2)}) {
      SCOPED_TRACE(absl::StrCat(order.name, ", ", shards, " shards, ", threads, " threads"));
      const ShardGroup group(JobOfSlots(kSlots), shards, threads);
      for (int64_t step = 0; step < kSteps; ++step) {
        for (const int32_t slot : order.slots) {
          ASSERT_OK(group.Push(step, slot, TestGradient(step, slot)));
        }
        for (int shard = 0; shard < shards; ++shard) {
          EXPECT_GE(group.state(shard)->gathered_steps(), step + 1);
        }
        EXPECT_TRUE(group.Weights(step + 1) == expected_[step + 1]) << "step " << step + 1;
      }
    }
  }
}

// Each thread pushes all slots in its own order, so that every slot comes several times.
TEST_F(GradientOrderTest, SameBitsFromManyThreads) {
  constexpr int kPushers = 3;
  for (const auto& [shards, threads] : {std::pair(1, 1), std::pair(2, 3)}) {
    SCOPED_TRACE(absl::StrCat(shards, " shards, ", threads, " threads, seed ", kSeed));
    const ShardGroup group(JobOfSlots(kSlots), shards, threads);
    const std::vector<Order> orders = Orders();
    for (int64_t step = 0; step < kSteps; ++step) {
      std::vector<std::thread> pushers;
      pushers.reserve(kPushers);
      for (int pusher = 0; pusher < kPushers; ++pusher) {
        pushers.emplace_back([&, pusher] {
          for (const int32_t slot : orders[orders.size() - 1 - pusher].slots) {
            EXPECT_OK(group.Push(step, slot, TestGradient(step, slot)));
          }
        });
      }
      for (std::thread& pusher : pushers) pusher.join();  // no thread may fall two steps behind
      EXPECT_TRUE(group.Weights(step + 1) == expected_[step + 1]) << "step " << step + 1;
    }
  }
}

// What a slice holds besides its weights, after each push has been processed: the gradients that
// came before their turn, and none of a step that is over.
TEST_F(GradientOrderTest, HoldsOnlyWhatWaitsForItsTurn) {
  for (const Order& order : Orders()) {
    SCOPED_TRACE(order.name);
    ThreadPool pool(1);
    ShardState::Options options;
    options.job = JobOfSlots(kSlots);
    options.pool = &pool;
    const auto state = std::make_shared<ShardState>(std::move(options));
    ShardSlice& slice = *state->slices()[kBlock];
    for (int64_t step = 0; step < kSteps; ++step) {
      const size_t weights = slice.buffers().taken();
      EXPECT_EQ(weights, step == 0 ? 1U : 2U);  // of this step and of the previous one
      std::vector<bool> came(kSlots);
      for (const int32_t slot : order.slots) {
        Buffer gradient = slice.TakeBuffer();
        gradient->assign(gradient->size(), 1);
        ASSERT_OK(state->Stage(slice, step, slot, std::move(gradient)));
        RunDry(pool);
        came[slot] = true;
        const auto turn = std::find(came.begin(), came.end(), false);
        if (turn == came.end()) break;
        EXPECT_EQ(slice.buffers().taken(),
                  weights + static_cast<size_t>(std::count(turn, came.end(), true)))
            << "after slot " << slot << " of step " << step;
      }
      EXPECT_EQ(slice.current().step, step + 1);
    }
  }
}

// The number of retained buffers is bounded by the job, not by the largest number of gradients.
TEST_F(GradientOrderTest, KeepsUnusedBuffersByTheJob) {
  struct Row {
    int32_t slots;
    bool checkpoint;
    bool momentum;
    size_t kept;
  };
  const Row rows[] = {{1, false, true, 2}, {2, false, true, 3},  {9, false, true, 6},
                      {1, true, false, 3}, {1, true, true, 4},   {1024, false, true, 6},
                      {3, true, true, 6},  {1024, true, true, 8}};
  for (const Row& row : rows) {
    Job job = JobOfSlots(row.slots);
    if (row.checkpoint) job.checkpoint = CheckpointSpec{1, "unused"};
    if (!row.momentum) job.momentum = {};
    ShardSlice slice(job, {kFew, 0, 0, 5});
    std::vector<Buffer> crowd;
    crowd.reserve(50);
    for (int i = 0; i < 50; ++i) crowd.push_back(slice.TakeBuffer());
    crowd.clear();
    EXPECT_EQ(slice.buffers().retained(), row.kept)
        << row.slots << " slots, checkpoint " << row.checkpoint << ", momentum " << row.momentum;
  }
}

}  // namespace
}  // namespace percentdelta

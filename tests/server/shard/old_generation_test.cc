// SPDX-License-Identifier: Apache-2.0

// What is still in flight for a generation that has ended changes nothing: pushes, and the norms of
// split tensors.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/thread_pool.h"
#include "server/shard/shard_peers.h"
#include "server/shard/shard_state.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::SizeIs;

Job JobOfSlots(int32_t slots) {
  Job job = SmallJob();
  job.gradients_per_step = slots;
  return job;
}

Gradient TestGradient(int64_t step, int32_t slot) {
  return RandomGradient(SmallJob().model, 11, step, slot);
}

// A worker of the old generation still pushes, and one of its updates is half done: the new one
// starts from the initial weights and reaches the same weights as without an old one.
TEST(OldGenerationTest, OldGenerationsLateWorkChangesNothing) {
  const Job job = JobOfSlots(2);
  const ShardGroup clean(job, 3, 1);
  for (int32_t slot = 0; slot < 2; ++slot) {
    ASSERT_OK(clean.Push(0, slot, TestGradient(0, slot)));
  }
  const Gradient expected = clean.Weights(1);

  const ShardGroup old(job, 3, 2);
  ASSERT_OK(old.Push(0, 0, TestGradient(0, 0)));
  const ShardGroup now(job, 3, 2);
  ASSERT_OK(now.Push(0, 1, TestGradient(0, 1)));
  for (int shard = 0; shard < 3; ++shard) old.state(shard)->Close(absl::AbortedError("over"));
  ASSERT_OK(old.Push(0, 1, TestGradient(7, 7)));  // completes the old step
  EXPECT_EQ(now.state(0)->step(), 0);
  EXPECT_EQ(now.Weights(0), clean.Weights(0));
  ASSERT_OK(now.Push(0, 0, TestGradient(0, 0)));
  EXPECT_EQ(now.Weights(1), expected);
}

// Keeps the callback of the last request.
class SilentPeers : public ShardPeers {
 public:
  void ReduceNorms(int home, const BlockSums& sums, NormsCallback done) override {
    EXPECT_EQ(home, 0);
    EXPECT_EQ(sums.tensor, kLarge);
    EXPECT_EQ(sums.step, 0);
    EXPECT_EQ(sums.first_block, 3);
    EXPECT_THAT(sums.blocks, SizeIs(1));
    absl::MutexLock lock(&mutex_);
    done_ = std::move(done);
  }
  void ReduceDeltaNorms(int home, const ProposedSums& sums, DeltaNormsCallback done) override {
    EXPECT_EQ(home, 0);
    EXPECT_EQ(sums.step, 0);
    EXPECT_EQ(sums.first_block, 3);
    EXPECT_THAT(sums.blocks, SizeIs(1));
    absl::MutexLock lock(&mutex_);
    delta_norms_done_ = std::move(done);
  }
  void CollectDeltas(int /*home*/, const DeltaSums& /*sums*/) override { ADD_FAILURE(); }

  // Wait for a request and return its callback.
  NormsCallback TakeCallback() { return Take(done_); }
  DeltaNormsCallback TakeDeltaNormsCallback() { return Take(delta_norms_done_); }

 private:
  template <typename Callback>
  Callback Take(Callback& done) {
    const auto asked = [&] { return done != nullptr; };
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&asked), absl::Minutes(1)));
    return std::exchange(done, nullptr);
  }

  absl::Mutex mutex_;
  NormsCallback done_;                   // under the mutex
  DeltaNormsCallback delta_norms_done_;  // under the mutex
};

// The norms of a split tensor never come, or come after the end: its slice stays where it is, and
// the state can be destroyed.
TEST(OldGenerationTest, NormsThatAreRefusedEndTheUpdate) {
  auto pool = std::make_unique<ThreadPool>(1);
  const auto peers = std::make_shared<SilentPeers>();
  ShardState::Options options;
  options.job = JobOfSlots(1);
  options.shard = 1;
  options.shards = 2;
  options.pool = pool.get();
  options.peers = peers;
  auto state = std::make_shared<ShardState>(std::move(options));
  ShardSlice* const slice = *state->FindSlice("a/weights");
  const Buffer gradient = slice->TakeBuffer();
  gradient->assign(gradient->size(), 1);
  ASSERT_EQ(*state->Stage(*slice, 0, 0, gradient), true);
  NormsCallback late = peers->TakeCallback();
  ASSERT_NE(late, nullptr);
  state->Close(absl::AbortedError("over"));
  late(absl::AbortedError("over"));
  EXPECT_EQ(slice->current().step, 0);
  const std::weak_ptr<ShardState> weak = state;
  state.reset();
  EXPECT_FALSE(weak.expired());  // the answer might still be used
  late = nullptr;
  pool.reset();  // the task that asked has ended
  EXPECT_TRUE(weak.expired());
}

// The second round of a generation that has ended: neither weights nor state have changed.
TEST(OldGenerationTest, DeltaNormsThatAreRefusedEndTheUpdate) {
  auto pool = std::make_unique<ThreadPool>(1);
  const auto peers = std::make_shared<SilentPeers>();
  ShardState::Options options;
  options.job = SmallLambJob();
  options.job.gradients_per_step = 1;
  options.shard = 1;
  options.shards = 2;
  options.pool = pool.get();
  options.peers = peers;
  const auto state = std::make_shared<ShardState>(std::move(options));
  ShardSlice* const slice = *state->FindSlice("a/weights");
  const Buffer gradient = slice->TakeBuffer();
  gradient->assign(gradient->size(), 1);
  ASSERT_THAT(state->Stage(*slice, 0, 0, gradient), IsOkAndHolds(true));
  peers->TakeCallback()(NormSums{1, 1, 1, 1, 1});
  DeltaNormsCallback late = peers->TakeDeltaNormsCallback();
  ASSERT_NE(late, nullptr);
  state->Close(absl::AbortedError("over"));
  late(absl::AbortedError("over"));
  pool.reset();  // the tasks have ended
  EXPECT_EQ(slice->current().step, 0);
  ASSERT_THAT(slice->optimizer_state(), SizeIs(2));
  for (const std::vector<float>& array : slice->optimizer_state()) {
    EXPECT_EQ(array, std::vector<float>(array.size()));
  }
}

}  // namespace
}  // namespace percentdelta

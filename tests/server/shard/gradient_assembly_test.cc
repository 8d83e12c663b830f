// SPDX-License-Identifier: Apache-2.0

#include "server/shard/gradient_assembly.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/string_view.h"
#include "common/base/float_bytes.h"
#include "common/transport/shared_memory.h"
#include "tests/server/shard/gradient_assembly_fixture.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

TEST_F(GradientAssemblyTest, ChunksOfAnySizeMakeTheGradient) {
  PushRight(0, 0, 333);
  PushRight(0, 1, kBlockEntries);
  EXPECT_EQ(group_.Weights(1), CleanWeights());
}

// Chunks of several tensors may be interleaved: each tensor is counted by itself.
TEST_F(GradientAssemblyTest, TensorsMayInterleave) {
  GradientAssembly assembly(group_.state(1), 0, 0);
  EXPECT_OK(assembly.Add("a/biases", 0, {Values(2)}));
  EXPECT_OK(assembly.Add("c/zeros", 0, {Values(20)}));
  EXPECT_OK(assembly.Add("a/biases", 2, {Values(3)}));
  EXPECT_EQ(assembly.staged_slices(), 1);
  EXPECT_OK(assembly.Add("c/zeros", 20, {Values(1)}));
  EXPECT_EQ(assembly.staged_slices(), 2);
}

TEST_F(GradientAssemblyTest, BytesNeedNotBeAligned) {
  const std::string shifted = "x" + Values(5);
  GradientAssembly assembly(group_.state(1), 0, 0);
  EXPECT_OK(assembly.Add("a/biases", 0, {absl::string_view(shifted).substr(1)}));
  EXPECT_EQ(assembly.staged_slices(), 1);
}

// The values are in memory that their sender writes to meanwhile. What is checked is what is
// staged.
TEST_F(GradientAssemblyTest, ValuesThatChangeWhileTheyAreReadAreCheckedAsTheyWereRead) {
  ShardState& state = *group_.state(0);
  const TensorRange range = state.slices().front()->range();
  const int64_t count = std::min<int64_t>(range.size(), kChunkEntries);
  ASSERT_OK_AND_ASSIGN(const auto written, SharedMemory::Make(count));
  // Another mapping, as the sender has.
  ASSERT_OK_AND_ASSIGN(const auto read, SharedMemory::Map(written->name(), count));
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    const std::vector<float> bad(count, std::numeric_limits<float>::infinity());
    const std::vector<float> good(count, 0.5F);
    for (int i = 0; !stop; ++i) absl::c_copy(i % 2 == 0 ? bad : good, written->values().begin());
  });
  const std::string& tensor = state.job().model.tensors[range.tensor].name;
  int refused = 0;
  int taken = 0;
  for (int i = 0; i < 2000 && (i < 50 || refused == 0 || taken == 0); ++i) {
    GradientAssembly assembly(group_.state(0), 0, 0);
    const absl::Status status = assembly.Add(tensor, range.begin, {AsBytes(read->values())});
    if (!status.ok()) {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                   HasSubstr("expected finite values, got inf")));
    }
    ++(status.ok() ? taken : refused);
    if (state.slices().front()->Has(0, 0)) break;
  }
  stop = true;
  sender.join();
  EXPECT_GT(refused + taken, 0);
  // What was staged, or is staged now, becomes the weights of a step: they must be finite.
  PushRight(0, 0);
  PushRight(0, 1);
  const Gradient weights = group_.Weights(1);
  for (const float value : weights[range.tensor]) ASSERT_TRUE(std::isfinite(value));
}

TEST_F(GradientAssemblyTest, DuplicatesAreCountedAndDropped) {
  PushRight(0, 0);
  const auto state = group_.state(1);
  const auto slices = static_cast<int>(state->slices().size());
  const auto push_other = [&](int64_t step, int32_t slot) {
    GradientAssembly assembly(state, step, slot);
    for (const Chunk& chunk : RightChunks(*state, TestGradient(9, 9))) {
      EXPECT_OK(assembly.Add(chunk.tensor, chunk.begin, {chunk.bytes}));
    }
    EXPECT_OK(assembly.Finish());
    EXPECT_EQ(assembly.staged_slices(), 0);
    EXPECT_EQ(assembly.duplicate_slices(), slices);
  };
  push_other(0, 0);  // staged
  PushRight(0, 1);
  EXPECT_EQ(group_.Weights(1), CleanWeights());
  push_other(0, 0);  // stale: applied
  push_other(0, 1);
  EXPECT_EQ(group_.Weights(1), CleanWeights());
  EXPECT_FALSE(state->slices()[0]->Has(1, 0));
}

// Two streams race with the same slot: one of them stages each slice, and both succeed.
TEST_F(GradientAssemblyTest, SecondOfTwoStreamsLosesAtTheLastChunk) {
  GradientAssembly first(group_.state(1), 0, 0);
  GradientAssembly second(group_.state(1), 0, 0);
  EXPECT_OK(first.Add("a/biases", 0, {Values(4)}));
  EXPECT_OK(second.Add("a/biases", 0, {Values(4)}));
  EXPECT_OK(second.Add("a/biases", 4, {Values(1)}));
  EXPECT_OK(first.Add("a/biases", 4, {Values(1)}));
  EXPECT_EQ(second.staged_slices(), 1);
  EXPECT_EQ(first.staged_slices(), 0);
  EXPECT_EQ(first.duplicate_slices(), 1);
}

// A worker died in the middle of its push and another one repeats it: slices that were whole need
// not be sent again.
TEST_F(GradientAssemblyTest, FinishCountsWhatEarlierStreamsBrought) {
  const auto state = group_.state(1);
  std::vector<Chunk> chunks = RightChunks(*state, TestGradient(0, 0));
  {
    GradientAssembly broken(state, 0, 0);
    EXPECT_OK(broken.Add(chunks[0].tensor, chunks[0].begin, {chunks[0].bytes}));
    EXPECT_FALSE(broken.Finish().ok());
  }
  GradientAssembly rest(state, 0, 0);
  for (size_t i = 1; i < chunks.size(); ++i) {
    EXPECT_OK(rest.Add(chunks[i].tensor, chunks[i].begin, {chunks[i].bytes}));
  }
  EXPECT_OK(rest.Finish());
}

// Otherwise a client could make the server take a whole gradient's memory with a few bytes.
TEST_F(GradientAssemblyTest, TakesMemoryAsValuesCome) {
  const auto state = group_.state(0);
  GradientAssembly assembly(state, 0, 0);
  EXPECT_OK(assembly.Add("a/weights", 0, {Values(1)}));
  EXPECT_EQ(assembly.buffered_bytes(), 4);
  EXPECT_OK(assembly.Add("a/weights", 1, {Values(kSplit - 2)}));
  EXPECT_EQ(assembly.buffered_bytes(), 4 * (kSplit - 1));
  EXPECT_OK(assembly.Add("a/weights", kSplit - 1, {Values(1)}));
  EXPECT_EQ(assembly.buffered_bytes(), 0);  // staged
  BufferPool pool(100, 1);
  Buffer empty = pool.TakeEmpty();
  EXPECT_EQ(empty->size(), 0U);
  EXPECT_GE(empty->capacity(), 100U);
  empty->resize(3);
  empty.reset();
  EXPECT_EQ(pool.Take()->size(), 100U);
}

}  // namespace
}  // namespace percentdelta

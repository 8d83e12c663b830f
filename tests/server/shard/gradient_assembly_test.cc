// SPDX-License-Identifier: Apache-2.0

#include "server/shard/gradient_assembly.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/server/shard/gradient_assembly_fixture.h"

namespace percentdelta {
namespace {

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

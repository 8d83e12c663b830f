// SPDX-License-Identifier: Apache-2.0

// Streams of pushes to a small cluster of two shards, chunk by chunk.

#ifndef PERCENTDELTA_TESTS_SERVER_SHARD_GRADIENT_ASSEMBLY_FIXTURE_H_
#define PERCENTDELTA_TESTS_SERVER_SHARD_GRADIENT_ASSEMBLY_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/float_bytes.h"
#include "common/job/partition.h"
#include "server/shard/gradient_assembly.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {

constexpr uint64_t kSeed = 3;
constexpr int kShards = 2;
constexpr int64_t kSplit = 3 * kBlockEntries;  // of a/weights: the rest is on shard 1

// `count` values as they are sent.
inline std::string Values(int64_t count, float value = 0.5F) {
  const std::vector<float> values(count, value);
  return std::string(AsBytes(values));
}

struct Chunk {
  std::string tensor;
  int64_t begin = 0;
  std::string bytes;
};

// The chunks of a valid gradient for the shard.
inline std::vector<Chunk> RightChunks(const ShardState& state, const Gradient& gradient,
                                      int64_t chunk_entries = kChunkEntries) {
  std::vector<Chunk> chunks;
  for (const auto& slice : state.slices()) {
    const TensorRange& range = slice->range();
    for (int64_t begin = range.begin; begin < range.end; begin += chunk_entries) {
      const int64_t count = std::min(chunk_entries, range.end - begin);
      const auto values = absl::MakeConstSpan(gradient[range.tensor]).subspan(begin, count);
      chunks.push_back(
          {state.job().model.tensors[range.tensor].name, begin, std::string(AsBytes(values))});
    }
  }
  return chunks;
}

class GradientAssemblyTest : public testing::Test {
 protected:
  static Gradient TestGradient(int64_t step, int32_t slot) {
    return RandomGradient(SmallJob().model, kSeed, step, slot);
  }

  // Pushes one slot to all shards as streams do.
  void PushRight(int64_t step, int32_t slot, int64_t chunk_entries = kChunkEntries) {
    for (int shard = 0; shard < kShards; ++shard) {
      GradientAssembly assembly(group_.state(shard), step, slot);
      const Gradient gradient = TestGradient(step, slot);
      for (const Chunk& chunk : RightChunks(*group_.state(shard), gradient, chunk_entries)) {
        const absl::Status added = assembly.Add(chunk.tensor, chunk.begin, {chunk.bytes});
        ASSERT_OK(added);
      }
      EXPECT_OK(assembly.Finish());
      const auto slices = static_cast<int>(group_.state(shard)->slices().size());
      EXPECT_EQ(assembly.staged_slices() + assembly.duplicate_slices(), slices);
    }
  }

  // The weights of step 1 of a cluster without bad pushes.
  static Gradient CleanWeights() {
    const ShardGroup clean(SmallJob(), 1, 1);
    for (int32_t slot = 0; slot < 2; ++slot) {
      EXPECT_OK(clean.Push(0, slot, TestGradient(0, slot)));
    }
    return clean.Weights(1);
  }

  const testing::ScopedTrace trace_{__FILE__, __LINE__, "seed 3"};
  ShardGroup group_{SmallJob(), kShards, 1};
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_SHARD_GRADIENT_ASSEMBLY_FIXTURE_H_

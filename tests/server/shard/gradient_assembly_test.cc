// SPDX-License-Identifier: Apache-2.0

// Every kind of bad push: refused with the right code and words, without a trace in the state.

#include "server/shard/gradient_assembly.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/float_bytes.h"
#include "common/job/partition.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSeed = 3;
constexpr int kShards = 2;
constexpr int64_t kSplit = 3 * kBlockEntries;  // of a/weights: the rest is on shard 1

// `count` values as they are sent.
std::string Values(int64_t count, float value = 0.5F) {
  const std::vector<float> values(count, value);
  return std::string(AsBytes(values));
}

struct Chunk {
  std::string tensor;
  int64_t begin = 0;
  std::string bytes;
};

// A stream whose last chunk, or whose end, is refused.
struct BadStream {
  std::string name;
  int shard = 0;
  int64_t step = 0;
  std::vector<Chunk> chunks;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  std::vector<std::string> says;
  bool at_the_end = false;
};

void PrintTo(const BadStream& stream, std::ostream* out) { *out << stream.name; }

std::vector<BadStream> BadStreams() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr auto kNotFound = absl::StatusCode::kNotFound;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
  const std::string large = "a/weights";
  // clang-format off: a stream and its words side by side
  return {
      {"UnknownTensor",
       1,
       0,
       {{"a/nothing", 0, Values(5)}},
       kNotFound,
       {"\"a/nothing\"", "expected one of job small", "got none"}},
      {"TensorOnAnotherShard",
       0,
       0,
       {{"a/biases", 0, Values(5)}},
       kNotFound,
       {"a/biases", "expected at shard 1", "got at shard 0"}},
      {"TooManyValues",
       1,
       0,
       {{"a/biases", 0, Values(6)}},
       kInvalid,
       {"a/biases", "expected at most 5 values", "got 6 values"}},
      {"TooManyForTheSlice",
       0,
       0,
       {{large, 0, Values(kSplit + 1)}},
       kInvalid,
       {large, absl::StrCat("expected at most ", kSplit, " values"),
        absl::StrCat("got ", kSplit + 1, " values")}},
      {"TooManyForAScalar",
       1,
       0,
       {{"b/scalar", 0, Values(2)}},
       kInvalid,
       {"b/scalar", "expected at most 1 values", "got 2 values"}},
      {"MoreAfterTheSlice",
       1,
       0,
       {{"a/biases", 0, Values(5)}, {"a/biases", 5, Values(1)}},
       kInvalid,
       {"a/biases", "expected at most 0 values", "got 1 values"}},
      {"NotAMultipleOfFour",
       1,
       0,
       {{"a/biases", 0, std::string(19, '\0')}},
       kInvalid,
       {"a/biases", "expected a positive multiple of 4 bytes", "got 19 bytes"}},
      {"Empty",
       1,
       0,
       {{"a/biases", 0, ""}},
       kInvalid,
       {"a/biases", "expected a positive multiple of 4 bytes", "got 0 bytes"}},
      {"Overlap",
       0,
       0,
       {{large, 0, Values(100)}, {large, 99, Values(100)}},
       kInvalid,
       {large, "expected the values from entry 100 on", "got entry 99", "overlaps"}},
      {"SentTwice",
       1,
       0,
       {{"b/scalar", 0, Values(1)}, {"b/scalar", 0, Values(1)}},
       kInvalid,
       {"b/scalar", "from entry 1 on", "got entry 0", "overlaps"}},
      {"Gap",
       0,
       0,
       {{large, 0, Values(100)}, {large, 101, Values(100)}},
       kInvalid,
       {large, "expected the values from entry 100 on", "got entry 101", "gap"}},
      {"BeginsLate",
       1,
       0,
       {{"a/biases", 1, Values(4)}},
       kInvalid,
       {"a/biases", "from entry 0 on", "got entry 1", "gap"}},
      {"BeforeTheSlice",
       1,
       0,
       {{large, 0, Values(100)}},
       kInvalid,
       {large, absl::StrCat("from entry ", kSplit, " on"), "got entry 0", "overlaps"}},
      {"NegativeBegin",
       1,
       0,
       {{"a/biases", -1, Values(5)}},
       kInvalid,
       {"a/biases", "expected the values from entry 0 on", "got entry -1"}},
      {"LeastBegin",
       1,
       0,
       {{"a/biases", kMin, Values(5)}},
       kInvalid,
       {"a/biases", absl::StrCat("got entry ", kMin)}},
      {"LargestBegin",
       1,
       0,
       {{"a/biases", kMax, Values(5)}},
       kInvalid,
       {"a/biases", absl::StrCat("got entry ", kMax)}},
      {"ChunkOverTheLimit",
       0,
       0,
       {{large, 0, Values(kMaxChunkEntries + 1)}},
       kInvalid,
       {large, absl::StrCat("expected a chunk of at most ", kMaxChunkEntries, " values"),
        absl::StrCat("got ", kMaxChunkEntries + 1, " values")}},
      {"NaN",
       1,
       0,
       {{"a/biases", 0, Values(3)}, {"a/biases", 3, Values(2, nan)}},
       kInvalid,
       {"a/biases", "expected finite values", "got nan at entry 3"}},
      {"NaNInALaterShardsSlice",
       1,
       0,
       {{large, kSplit, Values(9) + Values(91, nan)}},
       kInvalid,
       {large, "expected finite values", absl::StrCat("got nan at entry ", kSplit + 9)}},
      {"Infinity",
       1,
       0,
       {{"b/scalar", 0, Values(1, infinity)}},
       kInvalid,
       {"b/scalar", "expected finite values", "got inf at entry 0"}},
      {"MinusInfinity",
       1,
       0,
       {{"b/scalar", 0, Values(1, -infinity)}},
       kInvalid,
       {"b/scalar", "expected finite values", "got -inf at entry 0"}},
      {"FutureStep",
       1,
       1,
       {{"a/biases", 0, Values(5)}},
       kPrecondition,
       {"a/biases", "expected step 0", "got 1"}},
      {"FutureStepBegun",
       1,
       1,
       {{"a/biases", 0, Values(2)}},
       kPrecondition,
       {"a/biases", "expected step 0", "got 1"}},
      {"NothingSent",
       0,
       0,
       {},
       kInvalid,
       {large, absl::StrCat("expected the values of entries 0..", kSplit - 1), "got none"},
       true},
      {"EndMissing",
       0,
       0,
       {{large, 0, Values(100)}},
       kInvalid,
       {large, absl::StrCat("entries 0..", kSplit - 1), "got entries 0..99"},
       true},
      {"EndMissingInALaterShardsSlice",
       1,
       0,
       {{large, kSplit, Values(60)}},
       kInvalid,
       {large, absl::StrCat("entries ", kSplit, "..", kSplit + 99),
        absl::StrCat("got entries ", kSplit, "..", kSplit + 59)},
       true},
  };
  // clang-format on
}

// The chunks of a valid gradient for the shard.
std::vector<Chunk> RightChunks(const ShardState& state, const Gradient& gradient,
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

class BadStreamTest : public GradientAssemblyTest, public testing::WithParamInterface<BadStream> {};

TEST_P(BadStreamTest, IsRefusedWithoutATrace) {
  const BadStream& bad = GetParam();
  const Gradient before = group_.Weights(0);
  {
    GradientAssembly assembly(group_.state(bad.shard), bad.step, 0);
    absl::Status status;
    for (const Chunk& chunk : bad.chunks) {
      EXPECT_OK(status) << "refused too early";
      status = assembly.Add(chunk.tensor, chunk.begin, {chunk.bytes});
    }
    if (bad.at_the_end) {
      EXPECT_OK(status);
      status = assembly.Finish();
    }
    EXPECT_EQ(status.code(), bad.code) << status;
    for (const std::string& word : bad.says) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(word));
    }
  }

  // The state is unchanged, except that slices that were whole before the error stay staged.
  for (int shard = 0; shard < kShards; ++shard) EXPECT_EQ(group_.state(shard)->step(), 0);
  EXPECT_EQ(group_.Weights(0), before);
  if (bad.name == "MoreAfterTheSlice" || bad.name == "SentTwice") return;
  for (int shard = 0; shard < kShards; ++shard) {
    for (const auto& slice : group_.state(shard)->slices()) {
      EXPECT_FALSE(slice->Has(0, 0));
      EXPECT_FALSE(slice->Has(1, 0));
    }
  }
  // A valid gradient is accepted afterwards, as if there had been no error.
  PushRight(0, 0);
  PushRight(0, 1);
  EXPECT_EQ(group_.Weights(1), CleanWeights());
}

INSTANTIATE_TEST_SUITE_P(Streams, BadStreamTest, testing::ValuesIn(BadStreams()),
                         [](const auto& info) { return info.param.name; });

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

}  // namespace
}  // namespace percentdelta

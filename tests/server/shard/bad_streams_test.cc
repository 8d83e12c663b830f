// SPDX-License-Identifier: Apache-2.0

// Every kind of bad push: refused with the right code and words, without a trace in the state.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/shard/gradient_assembly.h"
#include "tests/server/shard/gradient_assembly_fixture.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace percentdelta

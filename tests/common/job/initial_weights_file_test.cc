// SPDX-License-Identifier: Apache-2.0

#include "common/job/initial_weights_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/float_bytes.h"
#include "common/base/safetensors.h"
#include "common/base/sha256.h"
#include "tests/common/job/full_job.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct RawTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

template <typename T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// The bytes of a safetensors file, of any dtypes.
std::string FileOf(const std::vector<RawTensor>& tensors) {
  std::string header;
  std::string data;
  for (const RawTensor& tensor : tensors) {
    absl::StrAppend(&header, header.empty() ? "{" : ",", "\"", tensor.name, "\":{\"dtype\":\"",
                    tensor.dtype, "\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
                    "],\"data_offsets\":[", data.size(), ",", data.size() + tensor.bytes.size(),
                    "]}");
    data += tensor.bytes;
  }
  header += "}";
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

class InitialWeightsFileTest : public testing::Test {
 protected:
  // The tensors "a/w" of shape [3, 4] and "a/b", a scalar.
  InitialWeightsFileTest() {
    for (TensorSpec& tensor : job_.model.tensors) tensor.initializer = FileInitializer{};
    Write(FileOf(Good()));
  }

  static std::vector<RawTensor> Good() {
    return {{"a/w", "F32", {3, 4}, Bytes<float>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})},
            {"a/b", "F32", {}, Bytes<float>({-7})}};
  }

  // The file, whose hash the job gets.
  void Write(const std::string& bytes) {
    job_.initial_weights = {path_, Sha256Hex(bytes)};
    std::ofstream(path_, std::ios::binary) << bytes;
  }

  // All entries of the job's tensors.
  absl::StatusOr<std::vector<std::vector<float>>> Read() const {
    return ReadInitialWeights(job_, Partition(job_.model, 1).ranges_of_shard(0));
  }

  std::string Message() const { return std::string(Read().status().message()); }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/w.safetensors";
  Job job_ = FullJob();
};

TEST_F(InitialWeightsFileTest, ReadsTensorsByName) {
  // Among others, of any dtype, which need not begin at multiples of their size.
  std::vector<RawTensor> tensors = Good();
  std::swap(tensors[0], tensors[1]);
  tensors.insert(tensors.begin() + 1, {"mask", "BOOL", {3}, "abc"});
  tensors.push_back({"x", "F8_E4M3", {2}, "xy"});
  Write(FileOf(tensors));
  ASSERT_OK_AND_ASSIGN(const auto values, Read());
  EXPECT_THAT(values,
              ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), ElementsAre(-7)));
}

TEST_F(InitialWeightsFileTest, WidensHalfFloats) {
  job_.model.tensors = {{"h", {5}, FileInitializer{}}, {"b", {2, 2}, FileInitializer{}}};
  Write(FileOf({{"h", "F16", {5}, Bytes<uint16_t>({0x3c00, 0xbc00, 0x0001, 0x83ff, 0x7bff})},
                {"b", "BF16", {2, 2}, Bytes<uint16_t>({0x3f80, 0xc049, 0x0001, 0x8000})}}));
  ASSERT_OK_AND_ASSIGN(const auto values, Read());
  EXPECT_THAT(values, ElementsAre(ElementsAre(1.0F, -1.0F, 0x1p-24F, -0x1.ff8p-15F, 65504.0F),
                                  ElementsAre(1.0F, -3.140625F, 0x1p-133F, -0.0F)));
  EXPECT_TRUE(std::signbit(values[1][3]));
}

// Ranges of a tensor that is longer than the pieces in which the file is read, and whose values lie
// across the ends of the pieces.
TEST_F(InitialWeightsFileTest, ReadsEveryRange) {
  constexpr int64_t kEntries = 40 * kBlockEntries + 5;
  std::vector<float> floats(kEntries);
  std::vector<uint16_t> halves(kEntries);
  for (int64_t i = 0; i < kEntries; ++i) {
    floats[i] = static_cast<float>(i);
    halves[i] = static_cast<uint16_t>(i % 0x7f80);
  }
  job_.model.tensors = {{"f", {kEntries}, FileInitializer{}}, {"h", {kEntries}, FileInitializer{}}};
  Write(FileOf({{"shift", "U8", {3}, "abc"},
                {"h", "BF16", {kEntries}, Bytes(halves)},
                {"f", "F32", {kEntries}, Bytes(floats)}}));
  for (const int shards : {1, 2, 3, 7}) {
    const Partition partition(job_.model, shards);
    for (int shard = 0; shard < shards; ++shard) {
      const std::vector<TensorRange>& ranges = partition.ranges_of_shard(shard);
      ASSERT_OK_AND_ASSIGN(const auto values, ReadInitialWeights(job_, ranges));
      ASSERT_EQ(values.size(), ranges.size());
      for (size_t i = 0; i < ranges.size(); ++i) {
        ASSERT_EQ(static_cast<int64_t>(values[i].size()), ranges[i].size());
        for (int64_t entry = ranges[i].begin; entry < ranges[i].end; ++entry) {
          const float expected =
              ranges[i].tensor == 0
                  ? floats[entry]
                  : std::bit_cast<float>(static_cast<uint32_t>(halves[entry]) << 16);
          ASSERT_EQ(values[i][entry - ranges[i].begin], expected) << shards << " " << entry;
        }
      }
    }
  }
}

TEST_F(InitialWeightsFileTest, AServerWithoutRangesChecksTheFile) {
  ASSERT_OK_AND_ASSIGN(const auto values, ReadInitialWeights(job_, {}));
  EXPECT_TRUE(values.empty());
  job_.initial_weights->sha256 = std::string(64, '0');
  EXPECT_THAT(ReadInitialWeights(job_, {}), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(InitialWeightsFileTest, AnotherHash) {
  const std::string expected = std::string(64, '0');
  const std::string got = std::exchange(job_.initial_weights->sha256, expected);
  EXPECT_THAT(Read(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "job: initial_weights.file: " + path_ + ": expected SHA-256 " + expected +
                           ", got " + got +
                           ": it is another file, or has changed; use the file that the job means,"
                           " or put the hash of this one in the job"));
  // Which is the better message than what else is wrong with the file.
  for (const std::string& bytes : {std::string("half"), FileOf({}), std::string()}) {
    std::ofstream(path_, std::ios::binary) << bytes;
    EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                 HasSubstr("got " + Sha256Hex(bytes))));
  }
}

TEST_F(InitialWeightsFileTest, PathsThatAreNoFile) {
  const std::string missing = directory_.path() + "/none";
  job_.initial_weights->file = missing;
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kNotFound,
                               "job: initial_weights.file: cannot open " + missing +
                                   ": No such file or directory; all servers must see it under"
                                   " this name"));
  job_.initial_weights->file = directory_.path();
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kFailedPrecondition,
                               "job: initial_weights.file: " + directory_.path() +
                                   ": expected a file, got a directory"));
  const std::string pipe = directory_.path() + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  job_.initial_weights->file = pipe;
  EXPECT_THAT(Message(), HasSubstr("expected a file, got a device"));
  // The system's code for this is not that of a bad command line.
  job_.initial_weights->file = "/" + std::string(3000, 'x');
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("too long")));
}

TEST_F(InitialWeightsFileTest, TensorsThatAreNotTheJobs) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  struct Bad {
    std::function<void(std::vector<RawTensor>&)> change;
    std::string message;
  };
  for (const Bad& bad : std::vector<Bad>{
           {[](auto& tensors) { tensors[0].name = "a/weights"; },
            "tensor \"a/w\": expected a tensor of that name, got 2 others: \"a/weights\","
            " \"a/b\""},
           {[](auto& tensors) {
              tensors[1].name = "x";
              for (const char* name : {"y", "z"}) tensors.push_back({name, "U8", {0}, ""});
            },
            "tensor \"a/b\": expected a tensor of that name, got 4 others: \"a/w\", \"x\","
            " \"y\", ..."},
           {[](auto& tensors) {
              tensors.clear();
              tensors.push_back({"q", "U8", {0}, ""});
            },
            "got 1 others: \"q\""},
           {[](auto& tensors) {
              tensors[0].shape = {4, 3};
            },
            "tensor \"a/w\": expected shape [3, 4], got [4, 3]"},
           {[](auto& tensors) { tensors[0].shape = {12}; },
            "tensor \"a/w\": expected shape [3, 4], got [12]"},
           {[](auto& tensors) { tensors[1].shape = {1}; },
            "tensor \"a/b\": expected shape [], got [1]"},
           {[](auto& tensors) { tensors[0].dtype = "I32"; },
            "tensor \"a/w\": expected dtype F32, F16 or BF16, got \"I32\": convert it"},
           {[](auto& tensors) {
              tensors[1].dtype = "F64";
              tensors[1].bytes.resize(8);
            },
            "tensor \"a/b\": expected dtype F32, F16 or BF16, got \"F64\": convert it"},
           {[](auto& tensors) { tensors[0].dtype = "F33"; },
            "tensor \"a/w\": expected dtype F32, F16 or BF16, got \"F33\": convert it"},
           {[=](auto& tensors) { tensors[1].bytes = Bytes<float>({-kInfinity}); },
            "tensor \"a/b\": expected finite values, got -inf at entry 0"},
           {[](auto& tensors) {
              tensors[0].bytes.replace(7 * sizeof(float), 4, "\xff\xff\xff\x7f");
            },
            "tensor \"a/w\": expected finite values, got nan at entry 7"},
           {[](auto& tensors) {
              tensors[0].dtype = "F16";
              tensors[0].bytes = Bytes(std::vector<uint16_t>(12, 0x7c00));
            },
            "tensor \"a/w\": expected finite values, got inf at entry 0"},
       }) {
    std::vector<RawTensor> tensors = Good();
    bad.change(tensors);
    Write(FileOf(tensors));
    EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                 AllOf(StartsWith("job: initial_weights.file: " + path_ + ": "),
                                       HasSubstr(bad.message))));
  }
}

// An entry is named by its index in the tensor, not in the shard's range, and only by the shard
// that has it.
TEST_F(InitialWeightsFileTest, ANonFiniteEntryOfARange) {
  constexpr int64_t kEntries = 2 * kBlockEntries;
  std::vector<float> values(kEntries);
  values[kEntries - 2] = std::numeric_limits<float>::quiet_NaN();
  job_.model.tensors = {{"f", {kEntries}, FileInitializer{}}};
  Write(FileOf({{"f", "F32", {kEntries}, Bytes(values)}}));
  const Partition partition(job_.model, 2);
  EXPECT_OK(ReadInitialWeights(job_, partition.ranges_of_shard(0)));
  EXPECT_THAT(ReadInitialWeights(job_, partition.ranges_of_shard(1)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("at entry 32766")));
}

// The hash may be that of a file that never was complete.
TEST_F(InitialWeightsFileTest, EveryTruncationIsMalformed) {
  const std::string whole = FileOf(Good());
  for (size_t size = 0; size < whole.size(); ++size) {
    Write(whole.substr(0, size));
    EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kDataLoss,
                                 HasSubstr(path_ + ": not a complete safetensors file: ")))
        << size;
  }
  Write(whole + "x");
  EXPECT_THAT(Message(), HasSubstr("expected 52 bytes of data by its header, got 53"));
  const std::string huge(8, '\x7f');
  Write(huge + whole);
  EXPECT_THAT(Message(), HasSubstr("says that 9187201950435737471 of them are its header"));
  std::string overlap = whole;
  overlap.replace(overlap.find("[48,52]"), 7, "[44,48]");
  Write(overlap);
  EXPECT_THAT(Message(), HasSubstr("tensor \"a/b\": expected its data at 48, got 44: an overlap"));
}

// What the project's own export writes can be read.
TEST_F(InitialWeightsFileTest, ReadsWhatWriteSafetensorsWrote) {
  const std::vector<float> weights = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const std::vector<float> scalar = {0.5F};
  DurableFile file(path_, {});
  ASSERT_OK(WriteSafetensors(file, {{"a/w", {3, 4}, weights}, {"a/b", {}, scalar}}, {{"k", "v"}}));
  ASSERT_OK(file.Commit());
  job_.initial_weights->sha256 = file.sha256();
  ASSERT_OK_AND_ASSIGN(const auto values, Read());
  EXPECT_THAT(values, ElementsAre(weights, scalar));
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "common/base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class SafetensorsTest : public ::testing::Test {
 protected:
  SafetensorsTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pd-tensors-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~SafetensorsTest() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name = "weights.safetensors") const {
    return directory_ + "/" + name;
  }

  // Writes a file with this header, unchanged, and `data_bytes` bytes of data.
  std::string Write(const std::string& header, size_t data_bytes) const {
    const uint64_t length = header.size();
    std::string bytes(sizeof(length), '\0');
    std::memcpy(bytes.data(), &length, sizeof(length));
    return WriteBytes(bytes + header + std::string(data_bytes, '\1'));
  }

  std::string WriteBytes(const std::string& bytes) const {
    std::ofstream(Path(), std::ios::binary) << bytes;
    return Path();
  }

  static std::string Bytes(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(directory_)) {
      names.push_back(file.path().filename());
    }
    return names;
  }

  std::string directory_;
};

// Whether a sanitizer replaces the allocator.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

// One tensor of two floats.
constexpr char kGood[] = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST_F(SafetensorsTest, WritesTheFormatsBytes) {
  const std::vector<float> one = {1.0F, -2.0F};
  ASSERT_OK(WriteSafetensors(Path(), {{"a", {2, 1}, one}}, {}));
  const std::string header = R"({"a":{"data_offsets":[0,8],"dtype":"F32","shape":[2,1]}})";
  ASSERT_EQ(header.size(), 56U);
  EXPECT_EQ(Bytes(Path()), std::string("\x38\0\0\0\0\0\0\0", 8) + header +
                               std::string("\0\0\x80\x3f\0\0\0\xc0", 8));
}

TEST_F(SafetensorsTest, HeaderIsPaddedToEightBytes) {
  for (const std::string name : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"}) {
    ASSERT_OK(WriteSafetensors(Path(), {{name, {0}, {}}}, {}));
    EXPECT_EQ(std::filesystem::file_size(Path()) % 8, 0U) << name;
    EXPECT_OK(ReadSafetensors(Path())) << name;
  }
}

TEST_F(SafetensorsTest, ReadsWhatItWrote) {
  const std::vector<float> large(100000, 0.1F);
  const std::vector<float> special = {0.0F, -0.0F, std::numeric_limits<float>::denorm_min(),
                                      std::numeric_limits<float>::infinity(),
                                      std::bit_cast<float>(0x7fc12345)};
  const std::vector<float> scalar = {7.0F};
  ASSERT_OK(WriteSafetensors(Path(),
                             {{"z/large", {10, 100, 100}, large},
                              {"special", {5}, special},
                              {"empty", {3, 0}, {}},
                              {"a scalar \"\xc3\xa9\"", {}, scalar}},
                             {{"step", "12"}, {"text", "\"quoted\"\n"}}));
  ASSERT_OK_AND_ASSIGN(const SafetensorsContent content, ReadSafetensors(Path()));
  EXPECT_THAT(content.metadata, ElementsAre(Pair("step", "12"), Pair("text", "\"quoted\"\n")));
  ASSERT_EQ(content.tensors.size(), 4U);
  EXPECT_EQ(content.tensors[0].name, "z/large");
  EXPECT_THAT(content.tensors[0].shape, ElementsAre(10, 100, 100));
  EXPECT_EQ(content.tensors[0].values, large);
  ASSERT_EQ(content.tensors[1].values.size(), special.size());
  for (size_t i = 0; i < special.size(); ++i) {  // bitwise, because one is NaN
    EXPECT_EQ(std::bit_cast<uint32_t>(content.tensors[1].values[i]),
              std::bit_cast<uint32_t>(special[i]));
  }
  EXPECT_THAT(content.tensors[2].shape, ElementsAre(3, 0));
  EXPECT_THAT(content.tensors[3].shape, IsEmpty());
  EXPECT_EQ(content.tensors[3].name, "a scalar \"\xc3\xa9\"");
  EXPECT_THAT(content.tensors[3].values, ElementsAre(7.0F));
}

TEST_F(SafetensorsTest, AnEmptyFileRoundTrips) {
  ASSERT_OK(WriteSafetensors(Path(), {}, {}));
  ASSERT_OK_AND_ASSIGN(const SafetensorsContent content, ReadSafetensors(Path()));
  EXPECT_THAT(content.tensors, IsEmpty());
  EXPECT_THAT(content.metadata, IsEmpty());
}

TEST_F(SafetensorsTest, ReplacesAFileAndLeavesNothingElse) {
  WriteBytes("something else");
  const std::vector<float> values = {1.0F};
  ASSERT_OK(WriteSafetensors(Path(), {{"a", {1}, values}}, {}));
  EXPECT_OK(ReadSafetensors(Path()));
  EXPECT_THAT(Files(), ElementsAre("weights.safetensors"));
}

TEST_F(SafetensorsTest, WritesToABareName) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  const absl::Status status = WriteSafetensors("bare", {}, {});
  std::filesystem::current_path(before);
  EXPECT_OK(status);
  EXPECT_THAT(Files(), ElementsAre("bare"));
}

TEST_F(SafetensorsTest, FollowsLinksAndRejectsDevices) {
  const std::string target = Path() + ".target";
  ASSERT_OK(WriteSafetensors(target, {}, {}));
  std::filesystem::create_symlink(target, Path());
  const std::vector<float> value = {1};
  ASSERT_OK(WriteSafetensors(Path(), {{"t", {1}, value}}, {}));
  EXPECT_TRUE(std::filesystem::is_symlink(Path()));
  EXPECT_EQ(ReadSafetensors(target)->tensors.size(), 1U);

  const std::string pipe = Path() + ".pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const absl::Status refused = WriteSafetensors(pipe, {}, {});
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(pipe)));
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST_F(SafetensorsTest, ConcurrentWritersDoNotMix) {
  constexpr int kWriters = 4;
  std::vector<std::thread> writers;
  writers.reserve(kWriters);
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      const std::vector<float> values(50000, static_cast<float>(writer));
      for (int i = 0; i < 5; ++i) {
        EXPECT_OK(WriteSafetensors(Path(), {{"a", {50000}, values}}, {}));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  ASSERT_OK_AND_ASSIGN(const SafetensorsContent content, ReadSafetensors(Path()));
  const std::vector<float>& values = content.tensors[0].values;
  EXPECT_EQ(values, std::vector<float>(50000, values.front()));
  EXPECT_THAT(Files(), ElementsAre("weights.safetensors"));
}

TEST_F(SafetensorsTest, RejectsInvalidEntries) {
  const std::vector<float> two = {1.0F, 2.0F};
  const auto refused = [&](const std::vector<SafetensorsEntry>& entries) {
    const absl::Status status = WriteSafetensors(Path(), entries, {});
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(Files(), IsEmpty());
    return std::string(status.message());
  };
  EXPECT_EQ(refused({{"a", {3}, two}}), "tensor a: its shape [3] does not fit its 2 values");
  EXPECT_EQ(refused({{"a", {-2, -1}, two}}),
            "tensor a: its shape [-2, -1] does not fit its 2 values");
  EXPECT_THAT(refused({{"a", {int64_t{1} << 62, 8}, two}}), HasSubstr("does not fit"));
  EXPECT_EQ(refused({{"a", {2}, two}, {"a", {2}, two}}), "tensor a: occurs twice");
  EXPECT_EQ(refused({{"__metadata__", {2}, two}}), "tensor __metadata__: the name is reserved");
}

TEST_F(SafetensorsTest, WriteErrorsNameThePathAndTheReason) {
  const absl::Status missing = WriteSafetensors(Path("no/such"), {}, {});
  EXPECT_THAT(missing, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(missing.message(),
            absl::StrCat("cannot write ", Path("no/such"), ": No such file or directory"));

  std::filesystem::create_directory(Path());
  const absl::Status directory = WriteSafetensors(Path(), {}, {});
  EXPECT_THAT(std::string(directory.message()), AllOf(HasSubstr(Path()), HasSubstr("directory")));
  EXPECT_THAT(Files(), ElementsAre("weights.safetensors"));
}

// A limit of the process simulates a full disk: both make a write fail in the middle.
TEST_F(SafetensorsTest, AFullDiskKeepsTheOldFile) {
  WriteBytes("old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::vector<float> values(100000);
  const absl::Status status = WriteSafetensors(Path(), {{"a", {100000}, values}}, {});
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(status.message(), absl::StrCat("cannot write ", Path(), ": File too large"));
  EXPECT_EQ(Bytes(Path()), "old");
  EXPECT_THAT(Files(), ElementsAre("weights.safetensors"));
}

struct Malformation {
  std::string header;
  size_t data_bytes;
  std::string message;
};

std::string Tensor(const std::string& name, const std::string& shape, const std::string& offsets) {
  return absl::StrCat("\"", name, R"(":{"dtype":"F32","shape":)", shape, R"(,"data_offsets":)",
                      offsets, "}");
}

TEST_F(SafetensorsTest, SaysWhatIsWrongWithAHeader) {
  const std::string a = Tensor("a", "[2]", "[0,8]");
  const std::string deep = R"("x":{"x":{"x":{"x":{"x":{}}}}})";
  const std::vector<Malformation> malformations = {
      {"", 0, "its header does not begin with {"},
      {" {}", 0, "its header does not begin with {"},
      {"[]", 0, "its header does not begin with {"},
      {"{", 0, "its header is not JSON"},
      {"{}{}", 0, "its header is not JSON"},
      {std::string("{}\0", 3), 0, "its header is not JSON"},
      {"{\"\xff\":{}}", 0, "its header is not JSON"},
      {"{" + a + "," + a + "}", 8, "the key \"a\" occurs twice"},
      {"{" + a + "," + deep + "," + a + "}", 8, "the key \"a\" occurs twice"},
      {R"({"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})", 8,
       "the key \"shape\" occurs twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", 0, "the key \"k\" occurs twice"},
      {R"({"__metadata__":[]})", 0, "__metadata__ is not an object"},
      {R"({"__metadata__":{"k":1}})", 0, "__metadata__ \"k\" is not a string"},
      {R"({"a":3})", 0, "tensor \"a\": no dtype"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8, "tensor \"a\": no shape"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", 8, "tensor \"a\": no data_offsets"},
      {R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8, "dtype is not a string"},
      {R"({"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}})", 8,
       "tensor \"a\": expected dtype F32, got \"F16\""},
      {"{" + Tensor("a", "2", "[0,8]") + "}", 8, "shape is not an array of sizes"},
      {"{" + Tensor("a", "[-2]", "[0,8]") + "}", 8, "shape is not an array of sizes"},
      {"{" + Tensor("a", "[2.0]", "[0,8]") + "}", 8, "shape is not an array of sizes"},
      {"{" + Tensor("a", "[[2]]", "[0,8]") + "}", 8, "shape is not an array of sizes"},
      {"{" + Tensor("a", "[18446744073709551615]", "[0,8]") + "}", 8, "not an array of sizes"},
      {"{" + Tensor("a", "[2]", "[0]") + "}", 8, "data_offsets is not a pair of offsets"},
      {"{" + Tensor("a", "[2]", "[0,8,8]") + "}", 8, "data_offsets is not a pair of offsets"},
      {"{" + Tensor("a", "[2]", "[-8,0]") + "}", 8, "data_offsets is not a pair of offsets"},
      {"{" + Tensor("a", "[2]", "[8,0]") + "}", 8, "its data_offsets 8 to 0 do not lie in"},
      {"{" + Tensor("a", "[2]", "[0,12]") + "}", 8, "its data_offsets 0 to 12 do not lie in"},
      {"{" + Tensor("a", "[3]", "[0,8]") + "}", 8, "its shape [3] does not fit its 8 bytes"},
      {"{" + Tensor("a", "[4611686018427387904,4]", "[0,8]") + "}", 8, "does not fit its 8 bytes"},
      {"{" + a + "}", 4, "do not lie in the file's 4 bytes of data"},
      {"{" + a + "}", 9, "expected 8 bytes of data by its header, got 9"},
      {"{}", 1, "expected 0 bytes of data by its header, got 1"},
      {"{" + a + "," + Tensor("b", "[1]", "[4,8]") + "}", 8,
       "tensor \"b\": expected its data at 8, got 4: an overlap"},
      {"{" + a + "," + Tensor("b", "[1]", "[12,16]") + "}", 16,
       "tensor \"b\": expected its data at 8, got 12: a gap"},
      {"{" + Tensor("a", "[1]", "[4,8]") + "}", 8, "expected its data at 0, got 4: a gap"},
  };
  for (const Malformation& malformation : malformations) {
    const std::string path = Write(malformation.header, malformation.data_bytes);
    const absl::StatusOr<SafetensorsContent> content = ReadSafetensors(path);
    EXPECT_THAT(content, StatusIs(absl::StatusCode::kDataLoss,
                                  AllOf(HasSubstr(path), HasSubstr(malformation.message))))
        << malformation.header;
  }
}

TEST_F(SafetensorsTest, AcceptsWhatOthersWrite) {
  // Any order of keys, with or without padding, unknown fields, tensors in another order than the
  // data.
  for (const std::string& header :
       {std::string(kGood), std::string(kGood) + "     ",
        std::string(R"({"b":{"data_offsets":[4,8],"shape":[1,1],"dtype":"F32","more":{"x":[{}]}},)"
                    R"("e":{"dtype":"F32","shape":[9007199254740993,0],"data_offsets":[4,4]},)"
                    R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})")}) {
    ASSERT_OK_AND_ASSIGN(const SafetensorsContent content, ReadSafetensors(Write(header, 8)));
    EXPECT_EQ(content.tensors.front().name, "a");
  }
}

TEST_F(SafetensorsTest, HeaderLengthIsCheckedAgainstTheFile) {
  const auto message = [&](const std::string& bytes) {
    return std::string(ReadSafetensors(WriteBytes(bytes)).status().message());
  };
  EXPECT_THAT(message(""), HasSubstr("it has only 0 bytes"));
  EXPECT_THAT(message("1234567"), HasSubstr("it has only 7 bytes"));
  EXPECT_THAT(message(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
              HasSubstr("it has 10 bytes and says that 3 of them are its header"));
  EXPECT_THAT(message(std::string(8, '\xff') + "{}"),
              HasSubstr("says that 18446744073709551615 of them are its header"));
}

TEST_F(SafetensorsTest, EveryTruncationAndEveryFlippedHeaderBitIsSafe) {
  const std::string path = Write(kGood, 8);
  const std::string whole = Bytes(path);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(ReadSafetensors(WriteBytes(whole.substr(0, size))),
                StatusIs(absl::StatusCode::kDataLoss))
        << size;
  }
  for (size_t bit = 0; bit < (whole.size() - 8) * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const absl::StatusOr<SafetensorsContent> content = ReadSafetensors(WriteBytes(flipped));
    // A letter of the name may change into another; every other change is detected.
    if (!content.ok()) continue;
    EXPECT_EQ(content->tensors.front().values.size(), 2U) << bit;
  }
}

// Deep nesting and very many keys take time proportional to their length.
TEST_F(SafetensorsTest, RejectsHostileHeadersQuickly) {
  std::string nested = "{\"a\":";
  for (int i = 0; i < 1000000; ++i) nested += '[';
  EXPECT_THAT(ReadSafetensors(Write(nested, 0)), StatusIs(absl::StatusCode::kDataLoss));

  std::string many = "{";
  for (int i = 0; i < 200000; ++i) absl::StrAppend(&many, "\"", i, "\":{},");
  many.back() = '}';
  EXPECT_THAT(ReadSafetensors(Write(many, 0)), StatusIs(absl::StatusCode::kDataLoss));
}

// The header of a file may be consistent, and the values still not fit into memory.
TEST_F(SafetensorsTest, AHugeSparseFileIsAnError) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's allocator ends the process, and needs its space";
  const std::string path =
      Write(R"({"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}})", 0);
  std::error_code error;
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + 4398046511104, error);
  if (error) GTEST_SKIP() << "no sparse files of 4 TiB here: " << error.message();
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  const rlimit limited = {rlim_t{1} << 40, before.rlim_max};
  if (setrlimit(RLIMIT_AS, &limited) != 0) GTEST_SKIP() << "address space cannot be limited here";
  const absl::StatusOr<SafetensorsContent> content = ReadSafetensors(path);
  setrlimit(RLIMIT_AS, &before);
  EXPECT_THAT(content, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr(path)));
}

TEST_F(SafetensorsTest, ReadErrorsNameThePathAndTheReason) {
  const absl::Status missing = ReadSafetensors(Path()).status();
  EXPECT_THAT(missing, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(missing.message(), absl::StrCat("cannot open ", Path(), ": No such file or directory"));
  EXPECT_THAT(std::string(ReadSafetensors(directory_).status().message()),
              AllOf(HasSubstr(directory_), HasSubstr("not a regular file")));
  ASSERT_EQ(mkfifo(Path().c_str(), 0600), 0);
  EXPECT_THAT(std::string(ReadSafetensors(Path()).status().message()),
              HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace percentdelta

#include "worker/data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An IDX file of these dimensions, followed by `content`.
std::string Idx(std::initializer_list<uint32_t> dimensions, const std::string& content) {
  std::string file = {0, 0, 8, static_cast<char>(dimensions.size())};
  for (const uint32_t dimension : dimensions) {
    for (int shift = 24; shift >= 0; shift -= 8) file += static_cast<char>(dimension >> shift);
  }
  return file + content;
}

std::string Gzip(const std::string& content) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string input = content;
  std::string output(deflateBound(&stream, input.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(output.data());
  stream.avail_out = static_cast<uInt>(output.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  output.resize(stream.total_out);
  deflateEnd(&stream);
  return output;
}

class IdxTest : public testing::Test {
 protected:
  IdxTest()
      : directory_(std::filesystem::path(testing::TempDir()) /
                   absl::StrCat("idx_test.", getpid(), ".",
                                testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(directory_);
  }
  ~IdxTest() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return (directory_ / name).string(); }

  std::string Write(const std::string& name, const std::string& content) const {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return Path(name);
  }

  absl::Status ReadImages(const std::string& content) const {
    return ReadDataset(Write("images", content), Write("labels", kLabels)).status();
  }
  absl::Status ReadLabels(const std::string& content) const {
    return ReadDataset(Write("images", kImages), Write("labels", content)).status();
  }

  // Two images of 2 x 3 pixels.
  const std::string kImages = Idx({2, 2, 3}, "abcdefABCDE\xff");
  const std::string kLabels = Idx({2}, std::string("\x09\x00", 2));

  const std::filesystem::path directory_;
};

void ExpectTheTwoImages(const absl::StatusOr<Dataset>& dataset) {
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->count, 2);
  EXPECT_EQ(dataset->rows, 2);
  EXPECT_EQ(dataset->columns, 3);
  EXPECT_EQ(dataset->classes, 10);
  EXPECT_THAT(dataset->pixels,
              ElementsAre('a', 'b', 'c', 'd', 'e', 'f', 'A', 'B', 'C', 'D', 'E', 255));
  EXPECT_THAT(dataset->labels, ElementsAre(9, 0));
}

void ExpectInvalid(const absl::Status& status, const std::string& file, const std::string& what) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(file), HasSubstr(what)));
}

TEST_F(IdxTest, ReadsPlainFiles) {
  ExpectTheTwoImages(ReadDataset(Write("i", kImages), Write("l", kLabels)));
}

TEST_F(IdxTest, ReadsCompressedFilesWhateverTheirNames) {
  ExpectTheTwoImages(ReadDataset(Write("i", Gzip(kImages)), Write("l.gz", kLabels)));
  ExpectTheTwoImages(ReadDataset(Write("i.gz", kImages), Write("l", Gzip(kLabels))));
}

TEST_F(IdxTest, ReadsFilesOfManyChunks) {
  std::string pixels;
  for (uint32_t i = 0; i < 300 * 28 * 28; ++i) pixels += static_cast<char>(i * i >> 3);
  const std::string images = Idx({300, 28, 28}, pixels);
  const std::string labels = Write("l", Idx({300}, std::string(300, '\x05')));
  const auto plain = ReadDataset(Write("i", images), labels);
  const auto compressed = ReadDataset(Write("i.gz", Gzip(images)), labels);
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_TRUE(compressed.ok()) << compressed.status();
  EXPECT_EQ(std::string(plain->pixels.begin(), plain->pixels.end()), pixels);
  EXPECT_EQ(plain->pixels, compressed->pixels);
}

TEST_F(IdxTest, KnowsTheUsualNames) {
  for (const std::string separator : {"-", "."}) {
    for (const bool gzip : {false, true}) {
      const auto write = [&](const std::string& stem, const std::string& type,
                             const std::string& content) {
        Write(absl::StrCat(stem, separator, type, gzip ? ".gz" : ""),
              gzip ? Gzip(content) : content);
      };
      write("train-images", "idx3-ubyte", kImages);
      write("train-labels", "idx1-ubyte", kLabels);
      ExpectTheTwoImages(ReadTrainingSet(directory_.string()));
      EXPECT_EQ(ReadTestSet(directory_.string()).status().code(), absl::StatusCode::kNotFound);
      write("t10k-images", "idx3-ubyte", kImages);
      write("t10k-labels", "idx1-ubyte", kLabels);
      ExpectTheTwoImages(ReadTestSet(directory_.string()));
      for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
        std::filesystem::remove(entry.path());
      }
    }
  }
}

TEST_F(IdxTest, SaysWhatToDoWithoutFiles) {
  const absl::Status no_directory = ReadTrainingSet(Path("nowhere")).status();
  EXPECT_EQ(no_directory.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(no_directory.message()),
              AllOf(HasSubstr(Path("nowhere")), HasSubstr("train-images-idx3-ubyte.gz"),
                    HasSubstr("deploy/quickstart"), HasSubstr("--data")));

  Write("train-images-idx3-ubyte", kImages);
  const absl::Status no_labels = ReadTrainingSet(directory_.string()).status();
  EXPECT_EQ(no_labels.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(no_labels.message()), HasSubstr("train-labels-idx1-ubyte"));

  const absl::Status no_file = ReadDataset(Path("gone"), Path("gone too")).status();
  EXPECT_EQ(no_file.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(no_file.message()),
              AllOf(HasSubstr(Path("gone")), HasSubstr("deploy/quickstart")));
}

TEST_F(IdxTest, RefusesADirectory) {
  ExpectInvalid(ReadDataset(directory_.string(), Write("labels", kLabels)).status(),
                directory_.string(), "is a directory");
}

TEST_F(IdxTest, RefusesEmptyAndShortFiles) {
  ExpectInvalid(ReadImages(""), "images", "header of an IDX file of images has 16 bytes");
  ExpectInvalid(ReadImages(kImages.substr(0, 15)), "images", "the file 15");
  ExpectInvalid(ReadLabels(kLabels.substr(0, 7)), "labels", "has 8 bytes, the file 7");
  ExpectInvalid(ReadImages(kImages.substr(0, 27)), "images",
                "truncated: expected 28 bytes, as the dimensions 2 x 2 x 3 say, got 27");
  ExpectInvalid(ReadLabels(kLabels.substr(0, 9)), "labels", "truncated: expected 10 bytes");
}

TEST_F(IdxTest, RefusesTrailingBytes) {
  ExpectInvalid(ReadImages(kImages + "!"), "images", "trailing bytes: expected 28 bytes");
  ExpectInvalid(ReadImages(Gzip(kImages + "!!")), "images", "trailing bytes: expected 28 bytes");
  ExpectInvalid(ReadImages(Gzip(kImages) + "!!"), "images", "2 trailing bytes behind the gzip");
}

TEST_F(IdxTest, RefusesOtherFormats) {
  ExpectInvalid(ReadImages("<!DOCTYPE html><html>Not found</html>"), "images",
                "expected it to begin with 00000803, got 3c21444f");
  ExpectInvalid(ReadImages(kLabels + std::string(10, 'x')), "images", "got 00000801");
  ExpectInvalid(ReadLabels(kImages), "labels", "begin with 00000801, got 00000803");
  std::string floats = kImages;
  floats[2] = 0x0d;
  ExpectInvalid(ReadImages(floats), "images", "got 00000d03");
}

TEST_F(IdxTest, RefusesAbsurdDimensionsWithoutTakingMemoryForThem) {
  ExpectInvalid(ReadImages(Idx({0, 2, 3}, "")), "images", "dimension 0 is 0");
  ExpectInvalid(ReadImages(Idx({2, 0, 3}, "")), "images", "dimension 1 is 0");
  ExpectInvalid(ReadImages(Idx({2, 2, 0xffffffff}, "x")), "images", "dimension 2 is 4294967295");
  // Products that overflow 32 and 64 bits.
  ExpectInvalid(ReadImages(Idx({0xffffffff, 0x8000, 0x8000}, "x")), "images", "4 GiB");
  ExpectInvalid(ReadImages(Idx({0xffffffff, 0xffffffff, 0xffffffff}, "x")), "images", "4 GiB");
  ExpectInvalid(ReadLabels(Idx({0xffffffff}, "x")), "labels", "expected 4294967303 bytes");
  ExpectInvalid(ReadLabels(Gzip(Idx({0xffffffff}, "x"))), "labels", "expected 4294967303 bytes");
}

TEST_F(IdxTest, RefusesDifferentCounts) {
  ExpectInvalid(ReadLabels(Idx({3}, std::string(3, '\0'))), "labels", "has 2 images");
}

TEST_F(IdxTest, RefusesLabelsThatAreNoDigits) {
  ExpectInvalid(ReadLabels(Idx({2}, "\x09\x0a")), "labels", "label 1 is 10: expected 0 to 9");
}

TEST_F(IdxTest, RefusesDamagedCompression) {
  const std::string good = Gzip(kImages);
  for (size_t size = 2; size < good.size(); ++size) {
    ExpectInvalid(ReadImages(good.substr(0, size)), "images", "truncated gzip file");
  }
  std::string bad_header = good;
  bad_header[2] = 7;  // no such method
  ExpectInvalid(ReadImages(bad_header), "images", "damaged gzip file");
  std::string bad_checksum = good;
  bad_checksum[good.size() - 8] ^= 1;
  ExpectInvalid(ReadImages(bad_checksum), "images", "damaged gzip file");
}

TEST_F(IdxTest, NeverTakesAFlippedBitForData) {
  const std::string good = Gzip(kImages);
  for (size_t bit = size_t{16} * 8; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    const absl::StatusOr<Dataset> dataset =
        ReadDataset(Write("images", bad), Write("labels", kLabels));
    if (dataset.ok()) ExpectTheTwoImages(dataset);
  }
}

}  // namespace
}  // namespace percentdelta

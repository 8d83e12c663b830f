// SPDX-License-Identifier: Apache-2.0

#include "worker/data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/worker/data/idx_files.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class IdxTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  std::string Write(const std::string& name, const std::string& content) const {
    WriteBytes(Path(name), content);
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

  const TemporaryDirectory directory_;
};

void ExpectTheTwoImages(const absl::StatusOr<Dataset>& dataset) {
  ASSERT_OK(dataset);
  EXPECT_EQ(dataset->count, 2);
  EXPECT_EQ(dataset->rows, 2);
  EXPECT_EQ(dataset->columns, 3);
  EXPECT_EQ(dataset->classes, 10);
  EXPECT_THAT(dataset->pixels,
              ElementsAre('a', 'b', 'c', 'd', 'e', 'f', 'A', 'B', 'C', 'D', 'E', 255));
  EXPECT_THAT(dataset->labels, ElementsAre(9, 0));
}

void ExpectInvalid(const absl::Status& status, const std::string& file, const std::string& what) {
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr(file), HasSubstr(what))));
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
  ASSERT_OK_AND_ASSIGN(const Dataset plain, ReadDataset(Write("i", images), labels));
  ASSERT_OK_AND_ASSIGN(const Dataset compressed, ReadDataset(Write("i.gz", Gzip(images)), labels));
  EXPECT_EQ(std::string(plain.pixels.begin(), plain.pixels.end()), pixels);
  EXPECT_EQ(plain.pixels, compressed.pixels);
}

TEST_F(IdxTest, ReadsFilesOfSeveralGzipMembers) {
  for (size_t cut = 0; cut <= kImages.size(); ++cut) {
    const std::string images = Gzip(kImages.substr(0, cut)) + GzipWithFullHeader("") +
                               Gzip(kImages.substr(cut)) + std::string(cut, '\0');
    ExpectTheTwoImages(ReadDataset(Write("i", images), Write("l", kLabels)));
  }
}

TEST_F(IdxTest, NotesEachFileThatItRead) {
  std::vector<std::string> lines;
  ReadOptions options;
  options.note = [&lines](const std::string& line) { lines.push_back(line); };
  ExpectTheTwoImages(ReadDataset(Write("i", Gzip(kImages)), Write("l", kLabels), options));
  EXPECT_THAT(lines,
              ElementsAre(absl::StrCat("read \"", Path("i"), "\": images of 2 x 2 x 3, gzip"),
                          absl::StrCat("read \"", Path("l"), "\": labels of 2")));
}

TEST_F(IdxTest, ChecksTheNumberOfExamples) {
  ReadOptions options;
  options.examples = 2;
  ExpectTheTwoImages(ReadDataset(Write("i", kImages), Write("l", kLabels), options));
  options.examples = 60000;
  ExpectInvalid(ReadDataset(Path("i"), Path("l"), options).status(), Path("i"),
                "expected 60000 images as the job says, got 2");
}

TEST_F(IdxTest, IsCancelled) {
  ReadOptions options;
  options.cancelled = [] { return true; };
  EXPECT_THAT(ReadDataset(Write("i", kImages), Write("l", kLabels), options),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(IdxTest, RefusesEmptyAndShortFiles) {
  ExpectInvalid(ReadImages(""), "images", "the file is empty");
  ExpectInvalid(ReadImages(Gzip("")), "images", "header of an IDX file of images has 16 bytes");
  ExpectInvalid(ReadImages(kImages.substr(0, 15)), "images", "the file 15");
  ExpectInvalid(ReadLabels(kLabels.substr(0, 7)), "labels", "has 8 bytes, the file 7");
  ExpectInvalid(ReadImages(kImages.substr(0, 27)), "images",
                "truncated: expected 28 bytes for the dimensions 2 x 2 x 3, got 27");
  ExpectInvalid(ReadLabels(kLabels.substr(0, 9)), "labels", "truncated: expected 10 bytes");
}

TEST_F(IdxTest, RefusesTrailingBytes) {
  ExpectInvalid(ReadImages(kImages + "!"), "images", "trailing bytes: expected 28 bytes");
  ExpectInvalid(ReadImages(Gzip(kImages + "!!")), "images", "trailing bytes: expected 28 bytes");
  ExpectInvalid(ReadImages(Gzip(kImages) + "!!"), "images",
                "2 trailing bytes after the end of the gzip");
}

TEST_F(IdxTest, RefusesOtherFormats) {
  ExpectInvalid(ReadImages("<!DOCTYPE html><html>Not found</html>"), "images", "an HTML page");
  ExpectInvalid(ReadImages("something else altogether"), "images",
                "expected it to begin with 00000803, got 736f6d65");
  ExpectInvalid(ReadImages("\xfd"
                           "7zXZ"),
                "images", "xz -d");
  ExpectInvalid(ReadImages(Gzip(Gzip(kImages))), "images",
                "not an IDX file of images: a gzip file");
  ExpectInvalid(ReadImages(kLabels + std::string(10, 'x')), "images", "got 00000801");
  ExpectInvalid(ReadLabels(kImages), "labels", "begin with 00000801, got 00000803");
  std::string floats = kImages;
  floats[2] = 0x0d;
  ExpectInvalid(ReadImages(floats), "images", "got 00000d03");
}

TEST_F(IdxTest, RefusesAbsurdDimensionsWithoutAllocatingMemory) {
  ExpectInvalid(ReadImages(Idx({0, 2, 3}, "")), "images", "dimension 0 is 0");
  ExpectInvalid(ReadImages(Idx({2, 0, 3}, "")), "images", "dimension 1 is 0");
  ExpectInvalid(ReadImages(Idx({2, 2, 0xffffffff}, "x")), "images", "dimension 2 is 4294967295");
  // Products that overflow 32 and 64 bits.
  ExpectInvalid(ReadImages(Idx({0xffffffff, 0x8000, 0x8000}, "x")), "images", "4 GiB");
  ExpectInvalid(ReadImages(Idx({0xffffffff, 0xffffffff, 0xffffffff}, "x")), "images", "4 GiB");
  ExpectInvalid(ReadLabels(Idx({0xffffffff}, "x")), "labels", "expected 4294967303 bytes");
  ExpectInvalid(ReadLabels(Gzip(Idx({0xffffffff}, "x"))), "labels", "expected 4294967303 bytes");
}

// Files as large as a disk, which take few blocks of a file system.
TEST_F(IdxTest, ComparesTheSizeOfSparseFilesBeforeAllocatingMemory) {
  constexpr int64_t kHuge = int64_t{12} << 30;
  const struct {
    std::string begin;
    const char* message;
  } files[] = {
      {"", "expected it to begin with 00000803, got 00000000"},
      {kImages, "trailing bytes: expected 28 bytes"},
      {Idx({60000, 28, 28}, ""), "trailing bytes: expected 47040016 bytes"},
      {Gzip(kImages), "trailing bytes: expected 28 bytes"},
      {"\x1f\x8b\x08\x08" + std::string(6, '\0') + std::string(1 << 16, 'x'), "damaged gzip file"}};
  for (const auto& [begin, message] : files) {
    const std::string path = Write("sparse", begin);
    std::error_code error;
    std::filesystem::resize_file(path, kHuge, error);
    if (error) GTEST_SKIP() << "no file of that size: " << error.message();
    ExpectInvalid(ReadDataset(path, Write("labels", kLabels)).status(), "sparse", message);
  }
}

TEST_F(IdxTest, AGzipFileCannotClaimMoreThanItsSizeAllows) {
  const std::string images = Gzip(Idx({60000, 28, 28}, std::string(1000, '\0')));
  ExpectInvalid(ReadImages(images), "images", "which cannot hold that many");
  // The most that deflate can produce: the file is read and found to be truncated.
  ExpectInvalid(ReadImages(Gzip(Idx({4, 500, 500}, std::string(999999, '\0')))), "images",
                "truncated: expected 1000016 bytes");
}

TEST_F(IdxTest, RefusesDifferentCounts) {
  ExpectInvalid(ReadLabels(Idx({3}, std::string(3, '\0'))), "labels", "has 2 images");
}

TEST_F(IdxTest, RefusesLabelsThatAreNotDigits) {
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

TEST_F(IdxTest, NeverAcceptsAFlippedBit) {
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

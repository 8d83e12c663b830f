// SPDX-License-Identifier: Apache-2.0

#include "worker/data/data_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/temporary_directory.h"
#include "tests/worker/data/idx_files.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(IsDataFileNameTest, KnowsTheNamesInUse) {
  for (const char* name :
       {"train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images-idx3-ubyte.gz",
        "train-images.idx3-ubyte.gz", "TRAIN-IMAGES-IDX3-UBYTE.GZ", "Train-Images.idx3-ubyte",
        "train_images_idx3_ubyte", "train-images-idx3.ubyte", "train-images-idx3-ubyte.xz",
        "train-images-idx3-ubyte.Z", "train-images-idx3-ubyte.zip"}) {
    EXPECT_TRUE(IsDataFileName(name, DataSplit::kTraining, IdxKind::kImages)) << name;
    EXPECT_FALSE(IsDataFileName(name, DataSplit::kTest, IdxKind::kImages)) << name;
    EXPECT_FALSE(IsDataFileName(name, DataSplit::kTraining, IdxKind::kLabels)) << name;
  }
  EXPECT_TRUE(IsDataFileName("t10k-labels-idx1-ubyte", DataSplit::kTest, IdxKind::kLabels));
  EXPECT_TRUE(IsDataFileName("test-labels.idx1-ubyte.gz", DataSplit::kTest, IdxKind::kLabels));
  for (const char* name :
       {"", "train", "train-images", "train-images-idx3-ubyte.unexpected", "train-images.idx3",
        "train-images-idx3-ubyte.part", "train-images-idx3-ubyte.gz.md5", "trainimages-idx3-ubyte",
        "my-train-images-idx3-ubyte", ".train-images-idx3-ubyte"}) {
    EXPECT_FALSE(IsDataFileName(name, DataSplit::kTraining, IdxKind::kImages)) << name;
  }
}

class DataFolderTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  Candidates Find() const {
    return FindCandidates(directory_.path(), DataSplit::kTraining, IdxKind::kImages);
  }
  const TemporaryDirectory directory_;
};

TEST_F(DataFolderTest, UsualNamesComeFirst) {
  EXPECT_TRUE(Find().empty());
  for (const char* name : {"TRAIN-images-idx3-ubyte", "train-images.idx3-ubyte.gz",
                           "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"}) {
    WriteBytes(Path(name), "x");
  }
  EXPECT_THAT(Find().paths,
              ElementsAre(Path("train-images-idx3-ubyte.gz"), Path("train-images.idx3-ubyte.gz"),
                          Path("TRAIN-images-idx3-ubyte")));
  EXPECT_THAT(Find().unusable, IsEmpty());
}

TEST_F(DataFolderTest, AFolderStandsForItsFile) {
  const std::string folder = Path("train-images-idx3-ubyte");
  std::filesystem::create_directories(folder);
  ASSERT_EQ(Find().unusable.size(), 1U);
  EXPECT_THAT(std::string(Find().unusable[0].message()), HasSubstr("is a directory with 0 files"));
  WriteBytes(folder + "/.DS_Store", "x");
  WriteBytes(folder + "/whatever", "x");
  EXPECT_THAT(Find().paths, ElementsAre(folder + "/whatever"));
  WriteBytes(folder + "/other", "x");
  EXPECT_THAT(Find().paths, IsEmpty());
  EXPECT_THAT(std::string(Find().unusable[0].message()), HasSubstr("is a directory with 2 files"));
  WriteBytes(folder + "/train-images.idx3-ubyte", "x");
  EXPECT_THAT(Find().paths, ElementsAre(folder + "/train-images.idx3-ubyte"));
}

TEST_F(DataFolderTest, DanglingLinksAreReported) {
  std::filesystem::create_symlink("gone", Path("train-images-idx3-ubyte"));
  std::filesystem::create_symlink("train-images.idx3-ubyte", Path("train-images.idx3-ubyte"));
  ASSERT_EQ(Find().unusable.size(), 2U);
  EXPECT_THAT(std::string(Find().unusable[0].message()),
              HasSubstr("No such file or directory at the target of the symbolic link"));
  EXPECT_THAT(std::string(Find().unusable[1].message()),
              HasSubstr("Too many levels of symbolic links"));
}

TEST_F(DataFolderTest, SearchesTorchvisionsFolders) {
  EXPECT_THAT(FoldersOfData(directory_.path()), ElementsAre(directory_.path()));
  for (const char* folder : {"raw", "MNIST/raw", "KMNIST/raw"}) {
    std::filesystem::create_directories(Path(folder));
  }
  EXPECT_THAT(FoldersOfData(directory_.path()),
              ElementsAre(directory_.path(), Path("raw"), Path("MNIST/raw"), Path("KMNIST/raw")));
  std::filesystem::create_directories(Path("FashionMNIST/raw"));  // which of the two?
  EXPECT_THAT(FoldersOfData(directory_.path()),
              ElementsAre(directory_.path(), Path("raw"), Path("MNIST/raw")));
}

}  // namespace
}  // namespace percentdelta

// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

namespace fs = std::filesystem;

TEST(CheckpointNamesTest, StepsAreWhatStepDirectoryWrites) {
  const struct {
    const char* name;
    std::optional<int64_t> step;
  } cases[] = {{"step-0000000000", 0},
               {"step-0000000005", 5},
               {"step-9999999999", 9'999'999'999},
               {"step-12345678901", 12'345'678'901},
               {"step-9223372036854775807", INT64_MAX},
               {"step-9223372036854775808", std::nullopt},
               {"step-99999999999999999999999", std::nullopt},
               {"step-5", std::nullopt},
               {"step-8", std::nullopt},
               {"step--3", std::nullopt},
               {"step--000000003", std::nullopt},
               {"step-+000000003", std::nullopt},
               {"step- 000000003", std::nullopt},
               {"step-00000000005", std::nullopt},
               {"step-0000000005 ", std::nullopt},
               {"step-0000000005.bak", std::nullopt},
               {"step-000000000x", std::nullopt},
               {"step-", std::nullopt},
               {"Step-0000000005", std::nullopt},
               {"my-step-0000000005", std::nullopt},
               {"", std::nullopt}};
  for (const auto& [name, step] : cases) EXPECT_EQ(StepOfName(name), step) << name;
}

TEST(CheckpointNamesTest, FilesAreThoseThatServersWrite) {
  const struct {
    const char* name;
    bool own;
  } cases[] = {{"manifest.json", true},
               {"history.pb", true},
               {"shard-00001-of-00003.safetensors", true},
               {"shard-65535-of-65536.safetensors", true},
               {"manifest.json.tmp-12-0", true},
               {"history.pb.tmp-1-0", true},
               {"shard-00000-of-00001.safetensors.tmp-4194304-17", true},
               {"shard-00003-of-00003.safetensors", false},
               {"shard-1-of-3.safetensors", false},
               {"shard-00001-of-00003.safetensors.bak", false},
               {"shard-000001-of-00003.safetensors", false},
               {"shard--0001-of-00003.safetensors", false},
               {"model.safetensors", false},
               {"thesis.tmp-draft.doc", false},
               {"thesis.tmp-1-0", false},
               {"manifest.json.tmp-draft", false},
               {"manifest.json.tmp-1", false},
               {"manifest.json.tmp-1-", false},
               {"manifest.json.tmp-01-0", false},
               {"manifest.json.tmp--1-0", false},
               {"manifest.json.tmp-1-0-2", false},
               {"manifest.json.tmp-1-0.tmp-1-0", false},
               {"manifest.json~", false},
               {".manifest.json", false},
               {"cluster.json", false},
               {"", false}};
  for (const auto& [name, own] : cases) EXPECT_EQ(IsStepFileName(name), own) << name;
}

TEST(CheckpointNamesTest, SetAsideHasANumber) {
  for (const char* name : {"set-aside-1", "set-aside-12"}) EXPECT_TRUE(IsAsideName(name)) << name;
  for (const char* name : {"set-aside-", "set-aside-x", "set-aside--1", "set-aside-01", "aside"}) {
    EXPECT_FALSE(IsAsideName(name)) << name;
  }
}

class CheckpointDirectoryTest : public testing::Test {
 protected:
  std::string Make(const std::string& name) const {
    const fs::path path = fs::path(directory_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "x";
    return path.string();
  }
  bool Exists(const std::string& name) const {
    return fs::exists(fs::symlink_status(fs::path(directory_) / name));
  }

  const TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path() + "/checkpoints";
};

TEST_F(CheckpointDirectoryTest, LinksAndFilesAreNoSteps) {
  Make("step-0000000010/manifest.json");
  Make("step-0000000020");
  fs::create_directories(temporary_.path() + "/elsewhere");
  fs::create_symlink(temporary_.path() + "/elsewhere", directory_ + "/step-0000000030");
  EXPECT_THAT(*FindStepDirectories(directory_),
              ElementsAre(Pair(10, directory_ + "/step-0000000010")));
  EXPECT_THAT(*FindForeign(directory_), UnorderedElementsAre("step-0000000020", "step-0000000030"));
}

TEST_F(CheckpointDirectoryTest, ForeignThingsAreFoundAtBothLevels) {
  for (const char* name :
       {"cluster.json", "cluster.json.tmp-1-0", "step-0000000010/manifest.json",
        "step-0000000010/history.pb.tmp-1-0", "set-aside-1/anything",  // the servers' own
        "thesis.tmp-draft.doc", "step-5/x", "step-0000000010/notes.txt",
        "step-0000000010/shard-00000-of-00001.safetensors/sub"}) {
    Make(name);
  }
  EXPECT_THAT(*FindForeign(directory_),
              UnorderedElementsAre("thesis.tmp-draft.doc", "step-5", "step-0000000010/notes.txt",
                                   "step-0000000010/shard-00000-of-00001.safetensors"));
}

TEST_F(CheckpointDirectoryTest, RemovesFileByFileAndNothingElse) {
  for (const char* name : {"manifest.json", "history.pb", "notes.txt", "sub/manifest.json"}) {
    Make(std::string("step-0000000010/") + name);
  }
  const std::string elsewhere = Make("elsewhere");
  const std::string step = directory_ + "/step-0000000010";
  fs::create_symlink(elsewhere, step + "/shard-00000-of-00001.safetensors");
  absl::StatusOr<StepRemoval> removal = RemoveStep(step, IsStepFileName);
  ASSERT_OK(removal);
  EXPECT_FALSE(removal->gone);
  EXPECT_EQ(removal->files, 2U);
  for (const char* name : {"notes.txt", "sub/manifest.json", "shard-00000-of-00001.safetensors"}) {
    EXPECT_TRUE(Exists(std::string("step-0000000010/") + name)) << name;
  }
  EXPECT_TRUE(Exists("elsewhere"));
  removal = RemoveStep(step, IsStepFileName);
  EXPECT_EQ(removal->files, 0U);
}

TEST_F(CheckpointDirectoryTest, LinkInADirectorysPlaceIsNotFollowed) {
  Make("elsewhere/manifest.json");
  const std::string step = directory_ + "/step-0000000010";
  fs::create_directory_symlink(directory_ + "/elsewhere", step);
  EXPECT_THAT(RemoveStep(step, IsStepFileName), Not(IsOk()));
  EXPECT_TRUE(Exists("elsewhere/manifest.json"));
  EXPECT_THAT(std::string(MakeStepDirectory(directory_, 10).message()),
              AllOf(HasSubstr(step), HasSubstr("symbolic link")));
}

TEST_F(CheckpointDirectoryTest, EmptyAndVanishedDirectoriesAreGone) {
  const std::string step = directory_ + "/step-0000000010";
  EXPECT_OK(MakeStepDirectory(directory_, 10));
  EXPECT_OK(MakeStepDirectory(directory_, 10));
  EXPECT_TRUE(RemoveStep(step, IsStepFileName)->gone);
  EXPECT_TRUE(RemoveStep(step, IsStepFileName)->gone);
  EXPECT_FALSE(Exists("step-0000000010"));
}

}  // namespace
}  // namespace percentdelta

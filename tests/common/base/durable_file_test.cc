// SPDX-License-Identifier: Apache-2.0

#include "common/base/durable_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/sha256.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

// The error that fsync of a directory, or of a file, fails with; 0: it succeeds.
static int directory_error = 0;
static int file_error = 0;

// Replaces the C library's function.
extern "C" int fsync(int file) {
  struct stat about {};
  if (fstat(file, &about) != 0) return -1;
  const int error = S_ISDIR(about.st_mode) ? directory_error : file_error;
  if (error == 0) return static_cast<int>(syscall(SYS_fsync, file));
  errno = error;
  return -1;
}

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

class DurableFileTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  const TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path();
};

TEST_F(DurableFileTest, ExistsOnlyAfterCommit) {
  DurableFile file(Path("a"), {});
  ASSERT_OK(file.Open());
  ASSERT_OK(file.Write("one "));
  ASSERT_OK(file.Write("two"));
  EXPECT_FALSE(fs::exists(Path("a")));
  EXPECT_THAT(Names(), ElementsAre(HasSubstr(kTemporaryMark)));
  ASSERT_OK(file.Commit());
  EXPECT_THAT(Names(), ElementsAre("a"));
  EXPECT_EQ(*ReadWholeFile(Path("a"), 100), "one two");
  EXPECT_EQ(file.bytes(), 7);
  EXPECT_EQ(file.sha256(), Sha256Hex("one two"));
  EXPECT_EQ(*Sha256OfFile(Path("a")), Sha256Hex("one two"));
}

TEST_F(DurableFileTest, ReportsEveryPiece) {
  const std::string bytes(1'000'000, 'x');
  std::vector<int64_t> reported;
  DurableFile file(Path("a"), {{}, [&](int64_t written) { reported.push_back(written); }});
  ASSERT_OK(file.Open());
  ASSERT_OK(file.Write(bytes));
  ASSERT_OK(file.Write("end"));
  ASSERT_OK(file.Commit());
  EXPECT_THAT(reported, ElementsAre(262'144, 524'288, 786'432, 1'000'000, 1'000'003));
  EXPECT_EQ(file.sha256(), Sha256Hex(bytes + "end"));
  EXPECT_EQ(*Sha256OfFile(Path("a")), Sha256Hex(bytes + "end"));
}

TEST_F(DurableFileTest, LeavesNothingBehindWithoutCommit) {
  {
    DurableFile file(Path("a"), {});
    ASSERT_OK(file.Open());
    ASSERT_OK(file.Write("half"));
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(DurableFileTest, ReplacesWhatWasThere) {
  ASSERT_OK(WriteDurably(Path("a"), "old"));
  ASSERT_OK(WriteDurably(Path("a"), "new"));
  EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "new");
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(DurableFileTest, FullDiskIsAnError) {
  // Nothing can be written to this device. A rename would replace it, so that it is rejected
  // before.
  EXPECT_THAT(std::string(WriteDurably("/dev/full", "x").message()), HasSubstr("/dev/full"));
}

TEST_F(DurableFileTest, ErrorsNameThePathAndTheReason) {
  const absl::Status no_directory = WriteDurably(Path("none/a"), "x");
  EXPECT_THAT(no_directory, StatusIs(absl::StatusCode::kNotFound, HasSubstr("none/a")));
  EXPECT_THAT(ReadWholeFile(Path("b"), 10), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadWholeFile(directory_, 10), StatusIs(absl::StatusCode::kDataLoss));
  ASSERT_OK(WriteDurably(Path("a"), "four"));
  EXPECT_THAT(ReadWholeFile(Path("a"), 3), StatusIs(absl::StatusCode::kDataLoss));
}

// Not every file system supports syncing a directory. A failure on one that does is an error.
TEST_F(DurableFileTest, UnsupportedSyncOfADirectoryIsNotAnError) {
  const struct {
    int error;
    bool passes;
  } cases[] = {{0, true},     {EINVAL, true}, {ENOTSUP, true}, {EOPNOTSUPP, true}, {ENOSYS, true},
               {EBADF, true}, {EIO, false},   {ENOSPC, false}, {EDQUOT, false}};
  for (const auto& [error, passes] : cases) {
    directory_error = error;
    bool supported = false;
    const absl::Status synced = SyncDirectory(directory_, &supported);
    EXPECT_EQ(synced.ok(), passes) << error;
    EXPECT_EQ(supported, error == 0 || !passes) << error;
    EXPECT_EQ(WriteDurably(Path("a"), "x").ok(), passes) << error;
    EXPECT_EQ(std::string(synced.message()).find(directory_) != std::string::npos, !passes);
  }
  directory_error = 0;
  EXPECT_THAT(SyncDirectory(Path("none")), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(DurableFileTest, FailedSyncLeavesTheOldFile) {
  ASSERT_OK(WriteDurably(Path("a"), "old"));
  for (const int error : {EIO, ENOSPC, EDQUOT, EINVAL}) {
    file_error = error;
    EXPECT_THAT(std::string(WriteDurably(Path("a"), "new").message()), HasSubstr(Path("a")));
    file_error = 0;
    EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "old");
    EXPECT_THAT(Names(), ElementsAre("a"));
  }
}

TEST_F(DurableFileTest, FollowsLinksOnlyIfAllowed) {
  ASSERT_OK(WriteDurably(Path("a"), "old"));
  fs::create_symlink(Path("a"), Path("link"));
  fs::create_symlink("nowhere", Path("dangling"));
  for (const char* name : {"link", "dangling"}) {
    EXPECT_THAT(std::string(WriteDurably(Path(name), "new", {{}, nullptr, false}).message()),
                HasSubstr("symbolic link"));
    EXPECT_TRUE(fs::is_symlink(Path(name)));
  }
  EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "old");
  ASSERT_OK(WriteDurably(Path("link"), "new"));
  EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "new");
  EXPECT_TRUE(fs::is_symlink(Path("link")));
}

}  // namespace
}  // namespace percentdelta

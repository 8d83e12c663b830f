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
#include "tests/temporary_directory.h"

// What fsync of a directory, and of a file, answers instead of doing its work; 0: it does it.
static int directory_error = 0;
static int file_error = 0;

// In the C library's place.
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

TEST_F(DurableFileTest, IsThereOnlyOnceCommitted) {
  DurableFile file(Path("a"), {});
  ASSERT_TRUE(file.Open().ok());
  ASSERT_TRUE(file.Write("one ").ok());
  ASSERT_TRUE(file.Write("two").ok());
  EXPECT_FALSE(fs::exists(Path("a")));
  EXPECT_THAT(Names(), ElementsAre(HasSubstr(kTemporaryMark)));
  ASSERT_TRUE(file.Commit().ok());
  EXPECT_THAT(Names(), ElementsAre("a"));
  EXPECT_EQ(*ReadWholeFile(Path("a"), 100), "one two");
  EXPECT_EQ(file.bytes(), 7);
  EXPECT_EQ(file.sha256(), Sha256Hex("one two"));
  EXPECT_EQ(*Sha256OfFile(Path("a")), Sha256Hex("one two"));
}

TEST_F(DurableFileTest, TellsOfEveryPiece) {
  const std::string bytes(1'000'000, 'x');
  std::vector<int64_t> told;
  DurableFile file(Path("a"), {{}, [&](int64_t written) { told.push_back(written); }});
  ASSERT_TRUE(file.Open().ok());
  ASSERT_TRUE(file.Write(bytes).ok());
  ASSERT_TRUE(file.Write("end").ok());
  ASSERT_TRUE(file.Commit().ok());
  EXPECT_THAT(told, ElementsAre(262'144, 524'288, 786'432, 1'000'000, 1'000'003));
  EXPECT_EQ(file.sha256(), Sha256Hex(bytes + "end"));
  EXPECT_EQ(*Sha256OfFile(Path("a")), Sha256Hex(bytes + "end"));
}

TEST_F(DurableFileTest, LeavesNothingBehindIfGivenUp) {
  {
    DurableFile file(Path("a"), {});
    ASSERT_TRUE(file.Open().ok());
    ASSERT_TRUE(file.Write("half").ok());
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(DurableFileTest, ReplacesWhatWasThere) {
  ASSERT_TRUE(WriteDurably(Path("a"), "old").ok());
  ASSERT_TRUE(WriteDurably(Path("a"), "new").ok());
  EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "new");
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(DurableFileTest, FullDiskIsAnError) {
  // The device takes no byte; a rename would replace it, so that it is refused even before.
  EXPECT_THAT(std::string(WriteDurably("/dev/full", "x").message()), HasSubstr("/dev/full"));
}

TEST_F(DurableFileTest, SaysWhereAndWhy) {
  const absl::Status no_directory = WriteDurably(Path("none/a"), "x");
  EXPECT_TRUE(absl::IsNotFound(no_directory));
  EXPECT_THAT(std::string(no_directory.message()), HasSubstr("none/a"));
  EXPECT_TRUE(absl::IsNotFound(ReadWholeFile(Path("b"), 10).status()));
  EXPECT_TRUE(absl::IsDataLoss(ReadWholeFile(directory_, 10).status()));
  ASSERT_TRUE(WriteDurably(Path("a"), "four").ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadWholeFile(Path("a"), 3).status()));
}

// Not every file system can sync a directory. One that can and fails is another matter.
TEST_F(DurableFileTest, DirectoryThatCannotBeSyncedIsNoError) {
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
  EXPECT_TRUE(absl::IsNotFound(SyncDirectory(Path("none"))));
}

TEST_F(DurableFileTest, FileThatCannotBeSyncedLeavesTheOldOne) {
  ASSERT_TRUE(WriteDurably(Path("a"), "old").ok());
  for (const int error : {EIO, ENOSPC, EDQUOT, EINVAL}) {
    file_error = error;
    EXPECT_THAT(std::string(WriteDurably(Path("a"), "new").message()), HasSubstr(Path("a")));
    file_error = 0;
    EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "old");
    EXPECT_THAT(Names(), ElementsAre("a"));
  }
}

TEST_F(DurableFileTest, LinkIsFollowedOnlyIfItMayBe) {
  ASSERT_TRUE(WriteDurably(Path("a"), "old").ok());
  fs::create_symlink(Path("a"), Path("link"));
  fs::create_symlink("nowhere", Path("dangling"));
  for (const char* name : {"link", "dangling"}) {
    EXPECT_THAT(std::string(WriteDurably(Path(name), "new", {{}, nullptr, false}).message()),
                HasSubstr("symbolic link"));
    EXPECT_TRUE(fs::is_symlink(Path(name)));
  }
  EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "old");
  ASSERT_TRUE(WriteDurably(Path("link"), "new").ok());
  EXPECT_EQ(*ReadWholeFile(Path("a"), 3), "new");
  EXPECT_TRUE(fs::is_symlink(Path("link")));
}

}  // namespace
}  // namespace percentdelta

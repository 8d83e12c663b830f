// SPDX-License-Identifier: Apache-2.0

#include "common/transport/shared_memory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "tests/common/transport/memory_maker.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr int64_t kValues = 5000;
constexpr int64_t kBytes = 4096 + 4 * kValues;  // of the file

std::shared_ptr<SharedMemory> Make() { return *SharedMemory::Make(kValues); }

absl::Status MapStatus(const SharedMemoryName& name, int64_t values = kValues) {
  return SharedMemory::Map(name, values).status();
}

// Maps another descriptor under an otherwise valid name.
absl::Status MapDescriptor(int descriptor) {
  absl::Status status = MapStatus({getpid(), descriptor, std::string(16, 'k')});
  close(descriptor);
  return status;
}

TEST(SharedMemoryTest, BothSeeTheSameValues) {
  const std::shared_ptr<SharedMemory> made = Make();
  EXPECT_EQ(made->values().size(), kValues);
  EXPECT_THAT(made->values(), Each(0));
  ASSERT_OK_AND_ASSIGN(const auto mapped, SharedMemory::Map(made->name(), kValues));
  ASSERT_EQ(mapped->values().size(), kValues);
  EXPECT_NE(mapped->values().data(), made->values().data());
  made->values()[0] = 1.5F;
  mapped->values()[kValues - 1] = -2.5F;
  EXPECT_EQ(mapped->values()[0], 1.5F);
  EXPECT_EQ(made->values()[kValues - 1], -2.5F);
}

TEST(SharedMemoryTest, OutlivesItsCreator) {
  std::shared_ptr<SharedMemory> made = Make();
  const SharedMemoryName name = made->name();
  ASSERT_OK_AND_ASSIGN(const auto mapped, SharedMemory::Map(name, kValues));
  made->values()[7] = 3;
  made.reset();
  EXPECT_EQ(mapped->values()[7], 3);
  EXPECT_FALSE(MapStatus(name).ok());
}

// The creator is killed: the memory still exists for processes that have mapped it, but not for
// others.
TEST(SharedMemoryTest, OutlivesItsCreatorsProcess) {
  MemoryMaker maker(kValues);
  ASSERT_OK_AND_ASSIGN(const auto mapped, SharedMemory::Map(maker.name(), kValues));
  EXPECT_EQ(mapped->values()[0], 42);
  EXPECT_TRUE(mapped->is_offered());
  maker.Kill();
  EXPECT_FALSE(mapped->is_offered());
  mapped->values()[1] = 1;
  EXPECT_EQ(mapped->values()[0], 42);
  const absl::Status status = MapStatus(maker.name());
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
}

// The next one gets the same descriptor.
TEST(SharedMemoryTest, IsOfferedAsLongAsItsCreatorHoldsIt) {
  std::shared_ptr<SharedMemory> made = Make();
  const SharedMemoryName name = made->name();
  ASSERT_OK_AND_ASSIGN(const auto mapped, SharedMemory::Map(name, kValues));
  EXPECT_TRUE(made->is_offered());
  EXPECT_TRUE(mapped->is_offered());
  made.reset();
  EXPECT_FALSE(mapped->is_offered());
  made = Make();
  EXPECT_EQ(made->name().descriptor, name.descriptor);
  EXPECT_FALSE(mapped->is_offered());
  EXPECT_THAT(std::string(MapStatus(name).message()), HasSubstr("another key"));
}

TEST(SharedMemoryTest, RejectsWrongNamesAndSizes) {
  const std::shared_ptr<SharedMemory> made = Make();
  const SharedMemoryName name = made->name();
  SharedMemoryName other = name;
  other.key[3] = static_cast<char>(other.key[3] ^ 1);
  EXPECT_THAT(std::string(MapStatus(other).message()), HasSubstr("another key"));
  other.key = "short";
  EXPECT_THAT(std::string(MapStatus(other).message()),
              AllOf(HasSubstr("expected a key of 16 bytes"), HasSubstr("got 5 bytes and")));
  other = name;
  other.descriptor = 1 << 20;
  EXPECT_THAT(MapStatus(other), StatusIs(absl::StatusCode::kNotFound));
  for (const int64_t values :
       {int64_t{0}, kValues - 1, kValues + 1, int64_t{1} << 61, int64_t{-1}}) {
    EXPECT_THAT(MapStatus(name, values), StatusIs(absl::StatusCode::kInvalidArgument)) << values;
  }
  EXPECT_OK(MapStatus(name));
}

TEST(SharedMemoryTest, RejectsNegativeNumbers) {
  const std::shared_ptr<SharedMemory> made = Make();
  for (const int32_t process : {0, -1, -getpid(), std::numeric_limits<int32_t>::min()}) {
    EXPECT_THAT(MapStatus({process, made->name().descriptor, made->name().key}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("expected a process and a descriptor")));
  }
  EXPECT_THAT(MapStatus({getpid(), -1, made->name().key}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// Processes that are not the caller's: without their key, which only they know, nothing is mapped.
TEST(SharedMemoryTest, RejectsForeignProcesses) {
  const MemoryMaker maker(kValues);
  SharedMemoryName name = maker.name();
  name.key = std::string(16, '\0');
  EXPECT_THAT(MapStatus(name), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("got another key")));
  for (const int32_t process : {1, getppid(), std::numeric_limits<int32_t>::max()}) {
    EXPECT_FALSE(MapStatus({process, name.descriptor, name.key}).ok()) << process;
  }
}

// Even root, who could open it.
TEST(SharedMemoryTest, RejectsMemoryOfAnotherUser) {
  const MemoryMaker maker(kValues, /*user=*/12345);
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  EXPECT_THAT(MapStatus(maker.name()),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("expected one of user 0 as this process, got one of user 12345")));
}

TEST(SharedMemoryTest, RejectsMemoryThatMayShrink) {
  for (const int seals : {0, F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL}) {
    const int file = memfd_create("percentdelta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ASSERT_EQ(ftruncate(file, kBytes), 0);
    ASSERT_EQ(fcntl(file, F_ADD_SEALS, seals), 0);
    EXPECT_THAT(MapDescriptor(file), StatusIs(absl::StatusCode::kInvalidArgument,
                                              HasSubstr("expected a file that cannot shrink")));
  }
}

// It shrank before it was sealed: its size is looked at afterwards.
TEST(SharedMemoryTest, RejectsMemoryThatShrank) {
  const int file = memfd_create("percentdelta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(file, kBytes), 0);
  ASSERT_EQ(ftruncate(file, kBytes - 4096), 0);
  ASSERT_EQ(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_THAT(MapDescriptor(file), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("bytes, got 20000")));
}

// Files with other names are not even opened.
TEST(SharedMemoryTest, RejectsOtherFiles) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/memfd:percentdelta (deleted)";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(ftruncate(file, kBytes), 0);
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const int foreign = memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(foreign, kBytes), 0);
  for (const int descriptor : {file, ends[0], foreign, open("/dev/null", O_RDWR | O_CLOEXEC)}) {
    EXPECT_THAT(std::string(MapDescriptor(descriptor).message()),
                HasSubstr("is not shared memory of ours"));
  }
  close(ends[1]);
}

TEST(SharedMemoryTest, FileSizeLimitIsAnError) {
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit low = before;
  low.rlim_cur = 4096;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  const absl::Status status = SharedMemory::Make(kValues).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                               HasSubstr("ulimit -f) is 4096 bytes")));
}

TEST(SharedMemoryTest, ItsCreatorCannotResizeIt) {
  const std::shared_ptr<SharedMemory> made = Make();
  EXPECT_NE(ftruncate(made->name().descriptor, 0), 0);
  EXPECT_NE(ftruncate(made->name().descriptor, 2 * kBytes), 0);
}

}  // namespace
}  // namespace percentdelta

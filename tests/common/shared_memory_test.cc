#include "common/shared_memory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <string>

#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr int64_t kValues = 5000;
constexpr int64_t kBytes = 4096 + 4 * kValues;  // of the file

std::shared_ptr<SharedMemory> Make() { return *SharedMemory::Make(kValues); }

absl::Status MapStatus(SharedMemoryName name, int64_t values = kValues) {
  return SharedMemory::Map(name, values).status();
}

// A descriptor of something else under a name that is right but for that.
absl::Status MapDescriptor(int descriptor) {
  const absl::Status status = MapStatus({getpid(), descriptor, std::string(16, 'k')});
  close(descriptor);
  return status;
}

TEST(SharedMemoryTest, BothSeeTheSameValues) {
  const std::shared_ptr<SharedMemory> made = Make();
  EXPECT_EQ(made->values().size(), kValues);
  EXPECT_THAT(made->values(), Each(0));
  const auto mapped = SharedMemory::Map(made->name(), kValues);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  ASSERT_EQ((*mapped)->values().size(), kValues);
  EXPECT_NE((*mapped)->values().data(), made->values().data());
  made->values()[0] = 1.5F;
  (*mapped)->values()[kValues - 1] = -2.5F;
  EXPECT_EQ((*mapped)->values()[0], 1.5F);
  EXPECT_EQ(made->values()[kValues - 1], -2.5F);
}

TEST(SharedMemoryTest, OutlivesItsMaker) {
  std::shared_ptr<SharedMemory> made = Make();
  const SharedMemoryName name = made->name();
  const auto mapped = SharedMemory::Map(name, kValues);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  made->values()[7] = 3;
  made.reset();
  EXPECT_EQ((*mapped)->values()[7], 3);
  EXPECT_FALSE(MapStatus(name).ok());
}

// The maker is killed; the memory is there for whoever has mapped it, and for nobody else.
TEST(SharedMemoryTest, OfAnotherProcess) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::shared_ptr<SharedMemory> made = Make();
    made->values()[1] = 42;
    std::array<char, 20> text = {};
    made->name().key.copy(text.data(), 16);
    const int32_t descriptor = made->name().descriptor;
    __builtin_memcpy(text.data() + 16, &descriptor, 4);
    _exit(write(sockets[1], text.data(), text.size()) == 20 && pause() == 0 ? 0 : 1);
  }
  std::array<char, 20> text = {};
  ASSERT_EQ(read(sockets[0], text.data(), text.size()), 20);
  SharedMemoryName name = {child, 0, std::string(text.data(), 16)};
  __builtin_memcpy(&name.descriptor, text.data() + 16, 4);
  const auto mapped = SharedMemory::Map(name, kValues);
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_EQ((*mapped)->values()[1], 42);
  (*mapped)->values()[2] = 1;
  EXPECT_TRUE(absl::IsNotFound(MapStatus(name))) << MapStatus(name);
  close(sockets[0]);
  close(sockets[1]);
}

TEST(SharedMemoryTest, WrongNamesAndSizesAreRefused) {
  const std::shared_ptr<SharedMemory> made = Make();
  const SharedMemoryName name = made->name();
  SharedMemoryName other = name;
  other.key[3] = static_cast<char>(other.key[3] ^ 1);
  EXPECT_THAT(std::string(MapStatus(other).message()), HasSubstr("another key"));
  other.key = "short";
  EXPECT_THAT(std::string(MapStatus(other).message()),
              HasSubstr("expected a key of 16 bytes, got 5"));
  other = name;
  other.descriptor = 1 << 20;
  EXPECT_TRUE(absl::IsNotFound(MapStatus(other))) << MapStatus(other);
  other.descriptor = -1;
  EXPECT_TRUE(absl::IsNotFound(MapStatus(other))) << MapStatus(other);
  other = name;
  other.process = -1;
  EXPECT_TRUE(absl::IsNotFound(MapStatus(other))) << MapStatus(other);
  for (const int64_t values :
       {int64_t{0}, kValues - 1, kValues + 1, int64_t{1} << 61, int64_t{-1}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(MapStatus(name, values))) << values;
  }
  EXPECT_TRUE(MapStatus(name).ok());
}

// Nothing but sealed memory is even opened for writing.
TEST(SharedMemoryTest, OtherThingsAreRefused) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/file";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(ftruncate(file, kBytes), 0);
  EXPECT_FALSE(MapDescriptor(file).ok());
  EXPECT_THAT(std::string(MapDescriptor(open("/dev/null", O_RDWR | O_CLOEXEC)).message()),
              HasSubstr("is no shared memory"));
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  EXPECT_THAT(std::string(MapDescriptor(ends[0]).message()), HasSubstr("is no shared memory"));
  close(ends[1]);
  const int unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(unsealed, kBytes), 0);
  EXPECT_THAT(std::string(MapDescriptor(unsealed).message()), HasSubstr("cannot shrink"));
}

TEST(SharedMemoryTest, ItsMakerCannotShrinkIt) {
  const std::shared_ptr<SharedMemory> made = Make();
  EXPECT_NE(ftruncate(made->name().descriptor, 0), 0);
  EXPECT_NE(ftruncate(made->name().descriptor, 2 * kBytes), 0);
}

}  // namespace
}  // namespace percentdelta

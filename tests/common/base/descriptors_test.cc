// SPDX-License-Identifier: Apache-2.0

#include "common/base/descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace percentdelta {
namespace {

bool IsOpen(int descriptor) { return fcntl(descriptor, F_GETFD) != -1; }

UniqueDescriptor OpenNull() { return UniqueDescriptor(open("/dev/null", O_RDWR | O_CLOEXEC)); }

TEST(UniqueDescriptorTest, ClosesAtTheEnd) {
  int number = -1;
  {
    const UniqueDescriptor file = OpenNull();
    number = file.get();
    EXPECT_TRUE(file.ok());
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueDescriptorTest, HasOneOwner) {
  UniqueDescriptor first = OpenNull();
  const int number = first.get();
  UniqueDescriptor second(std::move(first));
  EXPECT_EQ(second.get(), number);
  UniqueDescriptor third = OpenNull();
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_EQ(third.get(), number);
  EXPECT_FALSE(IsOpen(replaced));
  EXPECT_EQ(third.Release(), number);
  EXPECT_FALSE(third.ok());
  EXPECT_TRUE(IsOpen(number));
  UniqueDescriptor(number).Close();
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueDescriptorTest, CloseReportsItsErrorAndLeavesErrno) {
  UniqueDescriptor file(1 << 20);  // not open
  errno = EXDEV;
  EXPECT_EQ(file.Close(), EBADF);
  EXPECT_EQ(file.Close(), 0);  // nothing left to close
  EXPECT_EQ(UniqueDescriptor().Close(), 0);
  EXPECT_EQ(errno, EXDEV);
}

TEST(ReadSomeTest, ReadsToTheEndAndReportsErrors) {
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueDescriptor reader(ends[0]);
  UniqueDescriptor writer(ends[1]);
  ASSERT_EQ(write(writer.get(), "abc", 3), 3);
  writer.Close();
  std::array<char, 8> bytes = {};
  EXPECT_EQ(ReadSome(reader, bytes.data(), bytes.size()), 3);
  EXPECT_EQ(ReadSome(reader, bytes.data(), bytes.size()), 0);
  EXPECT_EQ(ReadSome(UniqueDescriptor(), bytes.data(), bytes.size()), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(DescriptorsTest, TheSoftLimitIsRaisedToTheHardOne) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlim_t hard = std::min<rlim_t>(limit.rlim_max, kMaxDescriptors);
  limit.rlim_cur = 50;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(DescriptorLimit(), 50);
  RaiseDescriptorLimit();
  EXPECT_EQ(static_cast<rlim_t>(DescriptorLimit()), hard);
  RaiseDescriptorLimit();
  EXPECT_EQ(static_cast<rlim_t>(DescriptorLimit()), hard);
}

}  // namespace
}  // namespace percentdelta

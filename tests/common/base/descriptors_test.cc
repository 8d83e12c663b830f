#include "common/base/descriptors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>

namespace percentdelta {
namespace {

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

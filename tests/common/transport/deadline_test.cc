// SPDX-License-Identifier: Apache-2.0

#include "common/transport/deadline.h"

#include <gtest/gtest.h>

#include <chrono>

namespace percentdelta {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

TEST(SetDeadlineTest, IsTheTimeoutFromNow) {
  grpc::ClientContext context;
  const auto before = system_clock::now();
  SetDeadline(context, absl::Milliseconds(2500));
  EXPECT_GE(context.deadline(), before + milliseconds(2500));
  EXPECT_LE(context.deadline(), system_clock::now() + milliseconds(2501));
}

TEST(SetDeadlineTest, InfiniteMeansNone) {
  grpc::ClientContext context;
  SetDeadline(context, absl::InfiniteDuration());
  EXPECT_EQ(context.deadline(), system_clock::time_point::max());
}

}  // namespace
}  // namespace percentdelta

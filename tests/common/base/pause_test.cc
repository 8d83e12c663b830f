// SPDX-License-Identifier: Apache-2.0

#include "common/base/pause.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "common/base/clock.h"

namespace {

std::atomic<int64_t> jumped_seconds{0};

}  // namespace

// Replaces the C library's function, to make the wall clock of this process jump.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const auto result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  if (clock == CLOCK_REALTIME) time->tv_sec += jumped_seconds;
  return result;
}

namespace percentdelta {
namespace {

TEST(PauseTest, TakesItsTime) {
  const SteadyClock clock;
  Pause pause;
  const absl::Duration begin = clock.Now();
  pause.Take(absl::Milliseconds(20));
  EXPECT_GE(clock.Now() - begin, absl::Milliseconds(20));
}

TEST(PauseTest, ReturnsAtOnceIfCutBefore) {
  Pause pause;
  pause.Cut();
  pause.Cut();
  pause.Take(absl::InfiniteDuration());  // or the test would never end
}

TEST(PauseTest, ReturnsWhenCut) {
  Pause pause;
  std::thread other([&] { pause.Cut(); });
  pause.Take(absl::InfiniteDuration());
  other.join();
}

// For the kernel, whose clock has not jumped, the end of a pause by the wall clock would be an hour
// away, as if the clock were set back during a pause.
TEST(PauseTest, IgnoresAJumpOfTheWallClock) {
  const absl::Time before = absl::Now();
  jumped_seconds = 3600;
  ASSERT_GT(absl::Now() - before, absl::Minutes(59))
      << "the clock has not jumped: this test proves nothing";
  Pause pause;
  pause.Take(absl::Milliseconds(1));  // or the test would time out
  jumped_seconds = 0;
}

}  // namespace
}  // namespace percentdelta

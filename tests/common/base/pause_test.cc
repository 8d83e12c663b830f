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

// The wall clock of this process, in the place of the C library's: it can be made to jump.
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

TEST(PauseTest, CutBeforeItBeginsItIsNone) {
  Pause pause;
  pause.Cut();
  pause.Cut();
  pause.Take(absl::InfiniteDuration());  // or the test would never end
}

TEST(PauseTest, CutWhileItLasts) {
  Pause pause;
  std::thread other([&] { pause.Cut(); });
  pause.Take(absl::InfiniteDuration());
  other.join();
}

// Seen from the kernel, whose clock has not jumped, the end of a pause by the wall clock would be
// an hour away: just as when the clock is set back during a pause.
TEST(PauseTest, WallClockThatJumpsChangesNothing) {
  const absl::Time before = absl::Now();
  jumped_seconds = 3600;
  ASSERT_GT(absl::Now() - before, absl::Minutes(59))
      << "the clock has not jumped: nothing is shown";
  Pause pause;
  pause.Take(absl::Milliseconds(1));  // or the test would time out
  jumped_seconds = 0;
}

}  // namespace
}  // namespace percentdelta

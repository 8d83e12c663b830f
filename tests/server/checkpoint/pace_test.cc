// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/pace.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <time.h>

#include <chrono>

namespace percentdelta {
namespace {

using Clock = Pace::Clock;

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void Work(double seconds) {
  const double begin = ThreadSeconds();
  while (ThreadSeconds() < begin + seconds) {
  }
}

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// How often the thread has yielded its core voluntarily.
long Waits() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

TEST(PaceTest, SpreadsWorkOverTheTimeForIt) {
  Pause pause;
  const Clock::time_point begin = Clock::now();
  Pace pace(&pause, begin + std::chrono::milliseconds(60));
  for (int piece = 1; piece <= 4; ++piece) {
    Work(0.005);
    pace.Take(0.25 * piece);
    EXPECT_GE(SecondsSince(begin), 0.99 * 0.015 * piece) << piece;
  }
}

TEST(PaceTest, IsNotThinnerThanATwentieth) {
  Pause pause;
  const Clock::time_point begin = Clock::now();
  Pace pace(&pause, begin + std::chrono::hours(1));
  Work(0.002);
  pace.Take(0.5);  // would otherwise take half an hour
  EXPECT_GE(SecondsSince(begin), 0.99 * 20 * 0.002);
}

TEST(PaceTest, DoesNotPauseWhenItIsLate) {
  Pause pause;
  Pace pace(&pause, Clock::now());
  const long before = Waits();
  Work(0.002);
  pace.Take(0.5);
  Work(0.002);
  pace.Take(1);
  EXPECT_EQ(Waits(), before);
}

TEST(PaceTest, GoesOnAtOnceWhenItsPauseIsCut) {
  Pause pause;
  Pace pace(&pause, Clock::now() + std::chrono::hours(1));
  pause.Cut();
  const long before = Waits();
  Work(0.002);
  pace.Take(0.5);
  EXPECT_EQ(Waits(), before);
}

}  // namespace
}  // namespace percentdelta

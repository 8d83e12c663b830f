// SPDX-License-Identifier: Apache-2.0

#include "common/base/stop_signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "absl/synchronization/notification.h"
#include "common/base/pause.h"

namespace percentdelta {
namespace {

using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

class StopSignalsTest : public ::testing::TestWithParam<int> {
 protected:
  StopSignalsTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  // Longer than any test may take.
  static void Sleep() { sleep(60); }
};

TEST_P(StopSignalsTest, EndsAProgramThatDoesNotHandleIt) {
  EXPECT_EXIT(
      {
        const StopSignals signals;
        kill(getpid(), GetParam());
        Sleep();
      },
      KilledBySignal(GetParam()), "");
}

TEST_P(StopSignalsTest, EndsAProgramWhoseParentBlocksAndIgnoresIt) {
  EXPECT_EXIT(
      {
        if (GetParam() != SIGHUP) signal(GetParam(), SIG_IGN);
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        EndAtStopSignals();
        kill(getpid(), GetParam());
        Sleep();
      },
      KilledBySignal(GetParam()), "");
}

TEST_P(StopSignalsTest, IsHandledOnceAndAgainAfterTheGrace) {
  EXPECT_EXIT(
      {
        if (GetParam() != SIGHUP) signal(GetParam(), SIG_IGN);
        absl::Notification first;
        absl::Notification last;
        StopSignals signals;
        signals.Handle(
            [&](int signal) {
              if (signal == GetParam()) first.Notify();
            },
            absl::ZeroDuration(),
            [&](int signal) {
              if (first.HasBeenNotified() && signal == GetParam()) last.Notify();
            });
        kill(getpid(), GetParam());
        last.WaitForNotification();
        signals.End();
        _exit(7);
      },
      ExitedWithCode(7), "");
}

// As timeout(1) sends them.
TEST_P(StopSignalsTest, TwoAtOnceAreOne) {
  EXPECT_EXIT(
      {
        absl::Notification first;
        StopSignals signals;
        signals.Handle([&](int) { first.Notify(); }, absl::InfiniteDuration(),
                       [](int) { _exit(1); });
        kill(getpid(), GetParam());
        first.WaitForNotification();
        kill(getpid(), SIGTERM);
        signals.End();
        _exit(7);
      },
      ExitedWithCode(7), "");
}

TEST_P(StopSignalsTest, ALaterOneIsAnother) {
  EXPECT_EXIT(
      {
        absl::Notification first;
        StopSignals signals;
        signals.Handle([&](int) { first.Notify(); }, absl::InfiniteDuration(),
                       [](int) { _exit(7); });
        kill(getpid(), GetParam());
        first.WaitForNotification();
        Pause().Take(StopSignals::kBounce + absl::Milliseconds(50));
        kill(getpid(), GetParam());
        Sleep();
      },
      ExitedWithCode(7), "");
}

INSTANTIATE_TEST_SUITE_P(Signals, StopSignalsTest, testing::Values(SIGTERM, SIGINT, SIGHUP));

TEST(NohupTest, AHangUpThatIsIgnoredStaysIgnored) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        signal(SIGHUP, SIG_IGN);
        const StopSignals signals;
        kill(getpid(), SIGHUP);
        kill(getpid(), SIGTERM);
        sleep(60);
      },
      KilledBySignal(SIGTERM), "");
}

TEST(StopSignalsEndTest, EndsWithoutASignal) {
  StopSignals signals;
  signals.Handle([](int) {}, absl::InfiniteDuration(), [](int) {});
  signals.End();
  signals.End();
}

}  // namespace
}  // namespace percentdelta

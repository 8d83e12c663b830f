// SPDX-License-Identifier: Apache-2.0

#include "common/base/stop_signals.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace percentdelta {
namespace {

constexpr int kSignalExit = 128;  // plus the signal: the exit code that shells report

std::vector<int> StopSignalNumbers() {
  std::vector<int> numbers = {SIGTERM, SIGINT};
  struct sigaction hang_up = {};
  sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) numbers.push_back(SIGHUP);
  return numbers;
}

}  // namespace

void EndBySignal(int signal) {
  if (getpid() != 1) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, signal);
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
    raise(signal);
  }
  _exit(kSignalExit + signal);
}

void EndAtStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  struct sigaction action = {};
  action.sa_handler = EndBySignal;
  for (const int number : StopSignalNumbers()) {
    sigaction(number, &action, nullptr);
    sigaddset(&signals, number);
  }
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

StopSignals::StopSignals() {
  sigemptyset(&signals_);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (const int number : StopSignalNumbers()) sigaddset(&signals_, number);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  // After blocking: before it, an ignored signal could be lost and a default action be taken.
  for (const int number : StopSignalNumbers()) sigaction(number, &action, nullptr);
  thread_ = std::thread([this] { Run(); });
}

StopSignals::~StopSignals() { End(); }

void StopSignals::End() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  // The thread blocks the signal: it only ends its waiting.
  // NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread)
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

void StopSignals::Handle(Handler first, absl::Duration grace, Handler last) {
  const std::lock_guard<std::mutex> lock(mutex_);
  first_ = std::move(first);
  grace_ = grace;
  last_ = std::move(last);
}

bool StopSignals::ending() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ending_;
}

int StopSignals::Await(absl::Duration timeout) const {
  if (timeout == absl::InfiniteDuration()) {
    int signal = 0;
    sigwait(&signals_, &signal);
    return signal;
  }
  const timespec time = absl::ToTimespec(std::max(timeout, absl::ZeroDuration()));
  return std::max(0, sigtimedwait(&signals_, nullptr, &time));
}

int StopSignals::AwaitAnother(absl::Duration timeout) const {
  const SteadyClock clock;
  const absl::Duration begin = clock.Now();
  while (true) {
    const int signal = Await(timeout - (clock.Now() - begin));
    if (signal == 0 || ending() || clock.Now() - begin >= kBounce) return signal;
  }
}

void StopSignals::Run() {
  const int signal = Await(absl::InfiniteDuration());
  Handler first;
  Handler last;
  absl::Duration grace;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ending_) return;
    first = first_;
    last = last_;
    grace = grace_;
  }
  if (!first) EndBySignal(signal);
  first(signal);
  const int second = AwaitAnother(grace);
  if (ending()) return;
  last(second != 0 ? second : signal);
  const int third = AwaitAnother(absl::InfiniteDuration());
  if (!ending()) EndBySignal(third);
}

}  // namespace percentdelta

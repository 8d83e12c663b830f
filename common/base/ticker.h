// SPDX-License-Identifier: Apache-2.0

// A thread that calls a function periodically, until it is destroyed.

#ifndef PERCENTDELTA_COMMON_BASE_TICKER_H_
#define PERCENTDELTA_COMMON_BASE_TICKER_H_

#include <atomic>
#include <functional>
#include <thread>

#include "absl/time/time.h"
#include "common/base/pause.h"

namespace percentdelta {

class Ticker {
 public:
  // Pauses for `interval` before each call, by the steady clock.
  Ticker(absl::Duration interval, const std::function<void()>& tick)
      : thread_([this, interval, tick] {
          pause_.Take(interval);
          for (; !stopping_; pause_.Take(interval)) tick();
        }) {}

  // Waits for a running call: must not be called from within one.
  ~Ticker() {
    stopping_ = true;
    pause_.Cut();
    thread_.join();
  }

  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  std::atomic<bool> stopping_{false};
  Pause pause_;
  std::thread thread_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_TICKER_H_

// SPDX-License-Identifier: Apache-2.0

#include "common/base/pause.h"

#include <chrono>

namespace percentdelta {

void Pause::Take(absl::Duration duration) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto cut = [this] { return cut_; };
  // Longer ones could overflow the clock.
  if (duration > absl::Hours(24 * 365)) {
    called_.wait(lock, cut);
  } else {
    called_.wait_until(lock, std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(duration),
                       cut);
  }
  cut_ = false;
}

void Pause::Cut() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    cut_ = true;
  }
  called_.notify_one();
}

}  // namespace percentdelta

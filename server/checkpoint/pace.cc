// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/pace.h"

#include <time.h>

#include <algorithm>

namespace percentdelta {
namespace {

constexpr int kMaxDilution = 20;  // one part of work, the other parts of pause
constexpr absl::Duration kMinWork = absl::Microseconds(200);  // between two pauses

absl::Duration ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

}  // namespace

Pace::Pace(Pause* pause, Clock::time_point due)
    : pause_(pause), start_(Clock::now()), total_(due - start_), worked_(ThreadTime()) {}

void Pace::Take(double part) {
  const absl::Duration worked = ThreadTime() - worked_;
  if (worked < kMinWork) return;
  const absl::Duration early =
      part * absl::FromChrono(total_) - absl::FromChrono(Clock::now() - start_);
  if (early > absl::ZeroDuration()) pause_->Take(std::min(early, (kMaxDilution - 1) * worked));
  worked_ = ThreadTime();
}

}  // namespace percentdelta

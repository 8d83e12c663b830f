#include "server/checkpoint/pace.h"

#include <time.h>

#include <algorithm>

namespace percentdelta {
namespace {

constexpr int kThinnest = 20;                               // one part work, the others pause
constexpr absl::Duration kLeast = absl::Microseconds(200);  // of work between two pauses

absl::Duration ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

}  // namespace

Pace::Pace(Pause* pause, Clock::time_point due)
    : pause_(pause), begin_(Clock::now()), whole_(due - begin_), worked_(ThreadTime()) {}

void Pace::Take(double part) {
  const absl::Duration worked = ThreadTime() - worked_;
  if (worked < kLeast) return;
  const absl::Duration early =
      part * absl::FromChrono(whole_) - absl::FromChrono(Clock::now() - begin_);
  if (early > absl::ZeroDuration()) pause_->Take(std::min(early, (kThinnest - 1) * worked));
  worked_ = ThreadTime();
}

}  // namespace percentdelta

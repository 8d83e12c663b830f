// How fast a thread works beside others that are in a hurry.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_PACE_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_PACE_H_

#include <chrono>

#include "absl/time/time.h"
#include "common/base/pause.h"

namespace percentdelta {

// Spreads a thread's work evenly over the time that there is for it, so that nobody is held up much
// at any moment; but not thinner than a twentieth of a core's time, so that what is little work is
// done soon. (The lowest priority would hold up nobody, and come to no end on a machine that stays
// busy.) Of the thread that makes it.
class Pace {
 public:
  using Clock = std::chrono::steady_clock;

  // Beginning now; done at `due`. Whoever cuts `pause` short has the thread go on at once.
  Pace(Pause* pause, Clock::time_point due);

  // Between two pieces of work, when `part` of it, 0 to 1, is done: pauses if that is early.
  void Take(double part);

 private:
  Pause* const pause_;
  const Clock::time_point begin_;
  const Clock::duration whole_;
  absl::Duration worked_;  // the thread's processor time at the end of the last pause
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_PACE_H_

// SPDX-License-Identifier: Apache-2.0

// Slows a thread down that shares the cores with more urgent ones.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_PACE_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_PACE_H_

#include <chrono>

#include "absl/time/time.h"
#include "common/base/pause.h"

namespace percentdelta {

// Spreads a thread's work evenly over the time that there is for it, so that it delays other
// threads little at any moment; but uses at least a twentieth of a core, so that little work is
// done soon. (The lowest priority would delay no other thread, and never finish on a machine that
// stays busy.) Must be used only on the thread that constructed it.
class Pace {
 public:
  using Clock = std::chrono::steady_clock;

  // Work that starts now and should be done at `due`. Cutting `pause` short makes the thread
  // continue at once.
  Pace(Pause* pause, Clock::time_point due);

  // To be called between two pieces of work, when the fraction `part` of it (0 to 1) is done:
  // pauses if that is early.
  void Take(double part);

 private:
  Pause* const pause_;
  const Clock::time_point start_;
  const Clock::duration total_;
  absl::Duration worked_;  // the thread's processor time at the end of the last pause
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_PACE_H_

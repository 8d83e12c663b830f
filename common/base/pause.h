// SPDX-License-Identifier: Apache-2.0

// A thread's pause between two rounds of a loop, which other threads can cut short.
//
// Measured by the steady clock. absl::Mutex (Debian's version) waits by the wall clock: if that
// were set back by an hour, a pause of a second would take an hour and a second.

#ifndef PERCENTDELTA_COMMON_BASE_PAUSE_H_
#define PERCENTDELTA_COMMON_BASE_PAUSE_H_

#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

namespace percentdelta {

// Thread-safe. Only one thread calls Take().
class Pause {
 public:
  // Returns after `duration`, or when Cut() is called; at once if that has happened since the last
  // pause.
  void Take(absl::Duration duration);

  // Ends the current pause, or else the next one before it begins.
  void Cut();

 private:
  // Standard library types, because they wait by the steady clock; clang cannot check them.
  // `mutex_` guards `cut_`.
  std::mutex mutex_;
  std::condition_variable called_;
  bool cut_ = false;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_PAUSE_H_

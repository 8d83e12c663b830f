// A thread's pause between two things that it does again and again, which others may cut short.
//
// Measured by the steady clock. The timeouts of absl::Mutex are moments of the wall clock (Debian's
// version): were that set back by an hour, a pause of a second would take an hour and a second.

#ifndef PERCENTDELTA_COMMON_BASE_PAUSE_H_
#define PERCENTDELTA_COMMON_BASE_PAUSE_H_

#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

namespace percentdelta {

// Thread-safe. One thread takes the pauses.
class Pause {
 public:
  // Returns after `duration`, or when Cut() is called: at once, if it was since the last pause.
  void Take(absl::Duration duration);

  // Ends the pause that is being taken, or else the next one before it begins.
  void Cut();

 private:
  // Of the standard library, which waits by the steady clock; it has no annotations for clang to
  // check. `cut_` is guarded by `mutex_`.
  std::mutex mutex_;
  std::condition_variable called_;
  bool cut_ = false;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_PAUSE_H_

// Ends a program when it is told to, by SIGTERM, SIGINT (Ctrl-C) or SIGHUP (its terminal is gone),
// also where these have no default action (process 1 of a container) or are blocked or ignored by
// the parent. SIGHUP that the parent ignores (nohup) stays ignored.

#ifndef PERCENTDELTA_COMMON_BASE_STOP_SIGNALS_H_
#define PERCENTDELTA_COMMON_BASE_STOP_SIGNALS_H_

#include <signal.h>

#include <functional>
#include <mutex>
#include <thread>

#include "absl/time/time.h"

namespace percentdelta {

// Ends the process at once, as the signal's default action does; process 1, which has no default
// actions, exits with 128 + signal.
[[noreturn]] void EndBySignal(int signal);

// For programs with nothing to do at their end: EndBySignal at the first signal, whatever the
// program is waiting for. Called before threads are started.
void EndAtStopSignals();

// For programs that end by themselves when told to. One object, made before other threads are
// started: it blocks the signals, and waits for them on a thread of its own. Thread-safe.
class StopSignals {
 public:
  StopSignals();

  ~StopSignals();  // End()

  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // What to do from now on; until this is called, a signal is EndBySignal. `first` is called at the
  // first signal, `last` at the second or when `grace` (which may be infinite) has passed; a third
  // signal is EndBySignal. Signals within kBounce of the one before are the same wish: timeout(1)
  // sends two at once. Both functions run on the object's thread and should return soon.
  static constexpr absl::Duration kBounce = absl::Milliseconds(500);
  using Handler = std::function<void(int signal)>;
  void Handle(Handler first, absl::Duration grace, Handler last);

  // Ends the thread, when a handler that runs has returned: from then on what the handlers use may
  // go. The signals stay blocked. To be called by the object's owner alone.
  void End();

 private:
  void Run();

  // The next signal, or 0 after `timeout`.
  int Await(absl::Duration timeout) const;

  // The same, but for signals that come within kBounce from now.
  int AwaitAnother(absl::Duration timeout) const;
  bool ending() const;

  sigset_t signals_;  // constant after construction

  mutable std::mutex mutex_;  // guards what follows
  Handler first_;
  Handler last_;
  absl::Duration grace_;
  bool ending_ = false;

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_STOP_SIGNALS_H_

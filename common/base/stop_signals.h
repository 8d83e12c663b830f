// SPDX-License-Identifier: Apache-2.0

// Ends a program on SIGTERM, SIGINT (Ctrl-C) or SIGHUP (its terminal is gone), even where these
// have no default action (process 1 of a container) or the parent blocks or ignores them. A SIGHUP
// that the parent ignores (nohup) stays ignored.

#ifndef PERCENTDELTA_COMMON_BASE_STOP_SIGNALS_H_
#define PERCENTDELTA_COMMON_BASE_STOP_SIGNALS_H_

#include <signal.h>

#include <functional>
#include <mutex>
#include <thread>

#include "absl/time/time.h"

namespace percentdelta {

// Ends the process at once by the signal's default action. Process 1, for which signals have no
// default actions, exits with 128 + signal.
[[noreturn]] void EndBySignal(int signal);

// For programs that need no cleanup: calls EndBySignal at the first signal, whatever the program is
// waiting for. Called before threads are started.
void EndAtStopSignals();

// For programs that shut down in order. Construct one object before other threads are started: it
// blocks the signals, and waits for them on its own thread. Thread-safe.
class StopSignals {
 public:
  StopSignals();

  ~StopSignals();  // End()

  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Sets the handlers; before this is called, a signal causes EndBySignal. Calls `first` at the
  // first signal, and `last` at the second or when `grace` (which may be infinite) has passed; a
  // third signal causes EndBySignal. A signal within kBounce of the one before is ignored:
  // timeout(1) sends two at once. Both functions run on the object's thread and should return soon.
  static constexpr absl::Duration kBounce = absl::Milliseconds(500);
  using Handler = std::function<void(int signal)>;
  void Handle(Handler first, absl::Duration grace, Handler last);

  // Ends the thread after a running handler has returned: afterwards, what the handlers use may be
  // destroyed. The signals stay blocked. Called only by the object's owner.
  void End();

 private:
  void Run();

  // Waits for a signal and returns it, or 0 after `timeout`.
  int Await(absl::Duration timeout) const;

  // The same, but ignores signals within kBounce from now.
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

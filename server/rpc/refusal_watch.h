// SPDX-License-Identifier: Apache-2.0

// Finds the connections whose calls are refused before they reach a service: by the table of roles,
// or for want of a certificate or token (gatekeeper.h).
//
// gRPC 1.51 asks the gatekeeper about a call without naming the connection. What it does count is
// the calls that were begun on each connection, and the services know the connection of each call
// that comes to them: the rest were refused. Calls are counted only while many are refused, so that
// an undisturbed server does nothing here.

#ifndef PERCENTDELTA_SERVER_RPC_REFUSAL_WATCH_H_
#define PERCENTDELTA_SERVER_RPC_REFUSAL_WATCH_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace percentdelta {

// Calls that were begun on each connection since it was made, by peer ("ipv4:127.0.0.1:41234").
using BegunCalls = std::map<std::string, int64_t>;

// Thread-safe.
class RefusalWatch {
 public:
  // How often the calls are counted. A call must reach its service within this time, or it may be
  // taken for a refused one until then.
  static constexpr absl::Duration kInterval = absl::Seconds(1);
  // After which the counts begin anew.
  static constexpr absl::Duration kWindow = absl::Seconds(10);

  struct Options {
    // Refusals of all connections within kWindow from which calls are counted.
    int refusals = 0;
    const Clock* clock = nullptr;  // must outlive the watch
  };

  explicit RefusalWatch(Options options) : options_(options) {}

  // The gatekeeper has refused a call.
  void Refused();

  // The gatekeeper has let in a call to a service that does not call Entered: of health or of
  // reflection. Any connection may have made it: it counts for all.
  void LetInElsewhere();

  // A call has reached its service over this connection.
  void Entered(const std::string& connection);

  // To be called at least once each kInterval. While many calls are refused, asks `list` for the
  // calls that were begun, and reports the connections on which calls have not reached a service
  // since the last report, with their number: refused ones, or given up before. Calls both under no
  // lock.
  void Tick(const std::function<BegunCalls()>& list,
            const std::function<void(const std::string& connection, int refused)>& report);

 private:
  struct Connection {
    bool listed = false;  // by gRPC; a new one may reach a service before
    int64_t base = 0;     // calls begun when counting began
    int64_t begun = 0;    // at the last interval
    int64_t entered = 0;  // of those, and later ones: reached a service
    int64_t reported = 0;
  };

  // What is counted, from a time on.
  struct Count {
    absl::Duration began;
    bool has_base = false;
    int64_t elsewhere = 0;
    std::map<std::string, Connection> connections;
  };

  std::map<std::string, int> Compare(const BegunCalls& begun) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  std::atomic<bool> counts_{false};  // whether calls are counted

  absl::Mutex mutex_;
  absl::Duration window_began_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  int refusals_ ABSL_GUARDED_BY(mutex_) = 0;        // in the window
  absl::Duration refused_ ABSL_GUARDED_BY(mutex_);  // when a call last was
  absl::Duration ticked_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  Count count_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REFUSAL_WATCH_H_

// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/refusal_watch.h"

#include <algorithm>

namespace percentdelta {

void RefusalWatch::Refused() {
  const absl::Duration now = options_.clock->Now();
  absl::MutexLock lock(&mutex_);
  refused_ = now;
  if (now - window_began_ >= kWindow) {
    if (refusals_ < options_.refusals) counts_ = false;
    window_began_ = now;
    refusals_ = 0;
  }
  if (++refusals_ < options_.refusals || counts_) return;
  count_ = Count();
  counts_ = true;
}

void RefusalWatch::LetInElsewhere() {
  if (!counts_) return;
  absl::MutexLock lock(&mutex_);
  ++count_.elsewhere;
}

void RefusalWatch::Entered(const std::string& connection) {
  if (!counts_) return;
  absl::MutexLock lock(&mutex_);
  ++count_.connections[connection].entered;
}

void RefusalWatch::Tick(
    const std::function<BegunCalls()>& list,
    const std::function<void(const std::string& connection, int refused)>& report) {
  if (!counts_) return;
  {
    const absl::Duration now = options_.clock->Now();
    absl::MutexLock lock(&mutex_);
    if (now - ticked_ < kInterval) return;
    ticked_ = now;
    if (now - refused_ >= kWindow) {
      counts_ = false;
      count_ = Count();
      return;
    }
    // Before the list is made: what reaches a service meanwhile counts.
    if (!count_.has_base || now - count_.began >= kWindow) {
      count_ = Count();
      count_.began = now;
    }
  }
  const BegunCalls begun = list();
  std::map<std::string, int> refused;
  {
    absl::MutexLock lock(&mutex_);
    refused = Compare(begun);
  }
  for (const auto& [connection, number] : refused) report(connection, number);
}

// Calls may be on their way to a service while they are counted: compares those that had begun an
// interval ago with those that have reached a service by now. A connection that makes calls of both
// kinds thereby has some refusals less.
std::map<std::string, int> RefusalWatch::Compare(const BegunCalls& begun) {
  std::map<std::string, int> refused;
  if (!count_.has_base) {
    count_.has_base = true;
    for (const auto& [name, calls] : begun) {
      Connection& connection = count_.connections[name];
      connection.listed = true;
      connection.base = calls;
      connection.begun = calls;
    }
    return refused;
  }
  for (const auto& [name, calls] : begun) {
    Connection& connection = count_.connections[name];  // of a new one, all calls count
    if (calls < connection.begun) connection = {};      // another connection of the same address
    const int64_t served = connection.entered + count_.elsewhere;
    const int64_t number = connection.begun - connection.base - served - connection.reported;
    if (number > 0) {
      connection.reported += number;
      refused[name] = static_cast<int>(std::min<int64_t>(number, 1'000'000));
    }
    connection.listed = true;
    connection.begun = calls;
  }
  std::erase_if(count_.connections, [&](const auto& entry) {
    return entry.second.listed && !begun.contains(entry.first);
  });
  return refused;
}

}  // namespace percentdelta

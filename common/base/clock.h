// SPDX-License-Identifier: Apache-2.0

// The clock that the program measures durations by. Injected, so that tests can advance it at will.

#ifndef PERCENTDELTA_COMMON_BASE_CLOCK_H_
#define PERCENTDELTA_COMMON_BASE_CLOCK_H_

#include <chrono>

#include "absl/time/time.h"

namespace percentdelta {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Time since an arbitrary fixed moment. Monotonic: unaffected by changes of the wall clock.
  virtual absl::Duration Now() const = 0;
};

class SteadyClock : public Clock {
 public:
  absl::Duration Now() const override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_CLOCK_H_

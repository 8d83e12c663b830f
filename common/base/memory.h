// SPDX-License-Identifier: Apache-2.0

// Retaining freed memory, and returning it to the kernel.

#ifndef PERCENTDELTA_COMMON_BASE_MEMORY_H_
#define PERCENTDELTA_COMMON_BASE_MEMORY_H_

#include <cstdint>
#include <optional>

#include "common/base/ticker.h"

namespace percentdelta {

// Makes malloc retain up to 64 MiB of freed memory at the end of its arena for the next allocation,
// instead of returning it to the kernel and faulting it in again page by page: gRPC allocates and
// frees the whole model in every step. Uses a single malloc arena: every arena would retain this
// much, and glibc creates one per thread, so memory would grow with each new thread that handles a
// large message. Called at the start of main.
void RetainFreedMemory();

// What this process uses: memory that is resident, now, and processor time since it started. 0:
// unknown.
int64_t ResidentBytes();
double ProcessorSeconds();

// Decides when freed memory is returned to the kernel after all: what accumulated while a peer was
// slow or away would otherwise be retained until the process ends. Faulting it in again delays a
// step by some milliseconds, so it is returned when usage exceeds what steps have been seen to
// need, and once a minute in any case, because that estimate may have been taken at a peak. Not
// thread-safe.
class TrimRule {
 public:
  static constexpr int kMaxIntervals = 30;  // between two trims

  // Called once per interval, with the resident bytes of the process. Returns whether to trim.
  bool ShouldTrim(int64_t resident);

 private:
  std::optional<int64_t> needed_;  // resident bytes one interval after the last trim
  int intervals_ = 0;              // since the last trim
};

// Applies the rule every two seconds, on its own thread. A program that waits for signals must
// block them before it constructs this.
class MemoryTrimmer {
 public:
  MemoryTrimmer();

 private:
  TrimRule rule_;
  Ticker ticker_;  // the last member: it uses the other
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_MEMORY_H_

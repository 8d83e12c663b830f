// How the process deals with memory that it has freed.

#ifndef PERCENTDELTA_COMMON_BASE_MEMORY_H_
#define PERCENTDELTA_COMMON_BASE_MEMORY_H_

#include <cstdint>
#include <optional>

#include "common/base/ticker.h"

namespace percentdelta {

// Keeps freed memory up to 64 MiB at an arena's end for the next allocation, instead of giving it
// back to the kernel and getting it anew, page by page: gRPC allocates and frees the whole model in
// every step. In one arena, for each would come to keep as much: with one a thread, which is
// glibc's way, a server grows for as long as new threads come to handle large messages, and with
// two it depends on which thread came to which. Called at the start of main.
void RetainFreedMemory();

// When freed memory is to be given back after all: what piled up while a peer was slow or away
// would be kept for ever. What the next steps need of it has to be fetched anew, which holds one of
// them up by some milliseconds: so it is done when there is more than steps were seen to need, and
// once a minute in case that they were seen in a bad moment. Not thread-safe.
class TrimRule {
 public:
  static constexpr int kLongest = 30;  // questions

  // To be asked at even intervals, with the bytes that the process is resident with.
  bool Trims(int64_t resident);

 private:
  std::optional<int64_t> needed_;  // an interval after the last trim
  int asked_ = 0;                  // since then
};

// Gives freed memory back by that rule, looking every two seconds, on a thread of its own: whoever
// waits for signals blocks them before.
class MemoryTrimmer {
 public:
  MemoryTrimmer();

 private:
  TrimRule rule_;
  Ticker ticker_;  // the last member: it uses the other
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_MEMORY_H_

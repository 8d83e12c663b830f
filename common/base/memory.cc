#include "common/base/memory.h"

#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <fstream>

#include "absl/time/time.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kPeriod = absl::Seconds(2);
constexpr int64_t kSpare = 32;  // one part of what is needed

// 0: the kernel does not say.
int64_t ResidentBytes() {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void GiveBackFreedMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace

void RetainFreedMemory() {
#if defined(__GLIBC__)
  constexpr int kKept = 64 << 20;
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, kKept / 2);
  mallopt(M_TRIM_THRESHOLD, kKept);
  mallopt(M_TOP_PAD, kKept / 4);
#endif
}

bool TrimRule::Trims(int64_t resident) {
  if (!needed_) needed_ = resident;
  ++asked_;
  if (asked_ < kLongest && resident <= *needed_ + *needed_ / kSpare) return false;
  needed_.reset();
  asked_ = 0;
  return true;
}

MemoryTrimmer::MemoryTrimmer()
    : ticker_(kPeriod, [this] {
        if (rule_.Trims(ResidentBytes())) GiveBackFreedMemory();
      }) {}

}  // namespace percentdelta

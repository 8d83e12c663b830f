// SPDX-License-Identifier: Apache-2.0

#include "common/base/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <fstream>

#include "absl/time/time.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kPeriod = absl::Seconds(2);
constexpr int64_t kSlack = 32;  // 1/32 of what is needed

void ReturnFreedMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace

int64_t ResidentBytes() {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

double ProcessorSeconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return absl::ToDoubleSeconds(absl::DurationFromTimeval(usage.ru_utime) +
                               absl::DurationFromTimeval(usage.ru_stime));
}

void RetainFreedMemory() {
#if defined(__GLIBC__)
  constexpr int kRetained = 64 << 20;
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, kRetained / 2);
  mallopt(M_TRIM_THRESHOLD, kRetained);
  mallopt(M_TOP_PAD, kRetained / 4);
#endif
}

bool TrimRule::ShouldTrim(int64_t resident) {
  if (!needed_) needed_ = resident;
  ++intervals_;
  if (intervals_ < kMaxIntervals && resident <= *needed_ + *needed_ / kSlack) return false;
  needed_.reset();
  intervals_ = 0;
  return true;
}

MemoryTrimmer::MemoryTrimmer()
    : ticker_(kPeriod, [this] {
        if (rule_.ShouldTrim(ResidentBytes())) ReturnFreedMemory();
      }) {}

}  // namespace percentdelta
